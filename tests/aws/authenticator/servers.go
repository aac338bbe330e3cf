package main

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net/url"
	"sort"
	"strings"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"
)

// Cluster is an EKS cluster that an API server is. One API server may be several, so that tests can share it.
type Cluster struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	// Who is let in. Nobody: the cluster is forgotten.
	Entries []Entry `json:"entries"`
	// Tokens signed before are refused as if they had ended; seconds since 1970.
	NotBefore int64 `json:"notBefore"`
}

// Entry is an access entry, or a line of aws-auth.
type Entry struct {
	Role     string   `json:"role"`
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

// Review is what became of a token.
type Review struct {
	// Of the token: what can be told without a secret.
	Signed        string `json:"signed"`
	SignedHeaders string `json:"signedHeaders"`
	Host          string `json:"host"`
	// The id of the access key that it is signed with, which is that of a session.
	Key string `json:"key"`
	// Of the answer. Error is empty if it was accepted.
	Cluster string `json:"cluster"`
	Arn     string `json:"arn"`
	Error   string `json:"error"`
}

type cluster struct {
	Cluster
	verifier token.Verifier
}

type servers struct {
	lock     sync.Mutex
	clusters map[string][]cluster
	log      map[string][]Review
	// The cluster that a token was for, by its signature, and the last one of its session, by access key: tokens do not
	// say it, and each guess is a request.
	known map[string]string
}

func newServers() *servers {
	return &servers{clusters: map[string][]cluster{}, log: map[string][]Review{}, known: map[string]string{}}
}

// set adds a cluster to a server, or changes the one of that name.
func (s *servers) set(server string, c Cluster) {
	s.lock.Lock()
	defer s.lock.Unlock()
	// Below the lock: the first one sets up metrics.
	verifier := token.NewVerifier(c.Name, "aws", c.Region)
	kept := []cluster{}
	for _, known := range s.clusters[server] {
		if known.Name != c.Name {
			kept = append(kept, known)
		}
	}
	if len(c.Entries) > 0 {
		kept = append(kept, cluster{c, verifier})
	}
	s.clusters[server] = kept
}

func (s *servers) reviews(server string) []Review {
	s.lock.Lock()
	defer s.lock.Unlock()
	return append([]Review{}, s.log[server]...)
}

func (s *servers) review(server, secret string) authentication.TokenReviewStatus {
	review := Review{}
	presigned := read(secret)
	query := presigned.Query()
	key, signature := query.Get("X-Amz-Credential"), query.Get("X-Amz-Signature")
	s.lock.Lock()
	clusters := append([]cluster{}, s.clusters[server]...)
	known := cmp.Or(s.known[server+" "+signature], s.known[server+" "+key])
	s.lock.Unlock()
	sort.SliceStable(clusters, func(i, j int) bool { return clusters[i].Name == known && clusters[j].Name != known })
	review.Host, review.Signed, review.SignedHeaders =
		presigned.Host, query.Get("X-Amz-Date"), query.Get("X-Amz-SignedHeaders")
	review.Key, _, _ = strings.Cut(key, "/")
	user, err := review.judge(clusters, secret)
	status := authentication.TokenReviewStatus{Authenticated: err == nil, User: user}
	if err != nil {
		// The verifier's words quote what STS answers, and no token.
		review.Error, status.Error = err.Error(), err.Error()
	}
	s.lock.Lock()
	s.log[server] = append(s.log[server], review)
	if review.Cluster != "" {
		s.known[server+" "+signature], s.known[server+" "+key] = review.Cluster, review.Cluster
	}
	s.lock.Unlock()
	return status
}

// judge asks the verifier of each cluster; a token is good for one of them at most.
func (r *Review) judge(clusters []cluster, secret string) (authentication.UserInfo, error) {
	err := errors.New("this API server is no EKS cluster")
	for _, c := range clusters {
		identity, refused := c.verifier.Verify(secret)
		if refused != nil {
			err = refused
			continue
		}
		r.Cluster, r.Arn = c.Name, identity.ARN
		signed, _ := time.Parse("20060102T150405Z", r.Signed)
		if signed.Unix() < c.NotBefore {
			return authentication.UserInfo{}, errors.New("the token has ended, the test says")
		}
		for _, entry := range c.Entries {
			// As the real one compares them: the canonical ARN, which has lost the role's path.
			if strings.EqualFold(entry.Role, identity.CanonicalARN) {
				return entry.user(identity), nil
			}
		}
		return authentication.UserInfo{}, errors.New("ARN is not mapped: " + identity.CanonicalARN)
	}
	return authentication.UserInfo{}, err
}

func (e Entry) user(identity *token.Identity) authentication.UserInfo {
	name := strings.NewReplacer("{{AccountID}}", identity.AccountID, "{{SessionName}}", identity.SessionName)
	return authentication.UserInfo{
		Username: name.Replace(e.Username),
		UID:      "aws-iam-authenticator:" + identity.AccountID + ":" + identity.UserID,
		Groups:   e.Groups,
		Extra:    map[string]authentication.ExtraValue{"arn": {identity.ARN}, "sessionName": {identity.SessionName}},
	}
}

// read returns the URL in a token; an empty one if there is none.
func read(secret string) *url.URL {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(secret, "k8s-aws-v1."))
	if err != nil {
		return &url.URL{}
	}
	presigned, err := url.Parse(string(text))
	if err != nil {
		return &url.URL{}
	}
	return presigned
}
