// Command authenticator answers the token webhook of API servers as EKS does: tokens are judged by
// aws-iam-authenticator's own verifier, whose requests to STS go to the stand-in for AWS.
//
// One process serves many API servers, by path: `/authenticate/SERVER` is for the API server, and the test says by
// `/clusters/SERVER` which EKS clusters that API server is, and whom they let in. It prints its address and answers
// until its standard input ends.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func main() {
	sts := flag.String("sts", "", "address of the stand-in for STS")
	flag.Parse()
	// The verifier has no setting for this, and its client has no transport of its own. The names in tokens stay what
	// they are, for the verifier judges them, and the stand-in sees them in the requests.
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, *sts)
	}
	http.DefaultTransport = &http.Transport{DialContext: dial, DialTLSContext: dial, ResponseHeaderTimeout: 10 * time.Second}

	servers := newServers()
	http.HandleFunc("POST /authenticate/{server}", func(w http.ResponseWriter, r *http.Request) {
		var review authentication.TokenReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, "no TokenReview", http.StatusBadRequest)
			return
		}
		review.Status = servers.review(r.PathValue("server"), review.Spec.Token)
		review.Spec = authentication.TokenReviewSpec{}
		review.ObjectMeta = meta.ObjectMeta{}
		answer(w, review)
	})
	http.HandleFunc("POST /clusters/{server}", func(w http.ResponseWriter, r *http.Request) {
		var cluster Cluster
		if err := json.NewDecoder(r.Body).Decode(&cluster); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		servers.set(r.PathValue("server"), cluster)
		answer(w, struct{}{})
	})
	http.HandleFunc("POST /reviews/{server}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, servers.reviews(r.PathValue("server")))
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("ready %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Print(err)
	}
}
