// Command controlplane is every server of a Kubernetes control plane in one binary, for tests.
//
// Which of them is decided by the name that it is called by: `etcd`, `kube-apiserver` and
// `kube-controller-manager` are links to it. Each runs as a process of its own; nothing but the build is
// shared.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // version metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

var components = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { serve(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { serve(controllermanager.NewControllerManagerCommand()) },
}

func serve(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func main() {
	run, ok := components[filepath.Base(os.Args[0])]
	if !ok {
		fmt.Fprintln(os.Stderr, "controlplane: call it by the name of a component, by a link such as `etcd`")
		os.Exit(2)
	}
	run()
}
