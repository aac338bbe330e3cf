// Command controlplane is every component of a Kubernetes control plane in one binary, for tests.
//
// The component is the first argument (`controlplane etcd ...`), or the name that the binary is called
// by, so that links named `etcd`, `kube-apiserver`, `kube-controller-manager` and `kubectl` work too.
// Each component runs as a process of its own; nothing but the build is shared.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // version metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

var components = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { serve(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { serve(controllermanager.NewControllerManagerCommand()) },
	"kubectl": func() {
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	},
}

func serve(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func main() {
	// By name first: `kubectl etcd` must stay a question to kubectl.
	if run, ok := components[filepath.Base(os.Args[0])]; ok {
		run()
		return
	}
	if len(os.Args) > 1 {
		if run, ok := components[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			run()
			return
		}
	}
	names := []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"}
	fmt.Fprintf(os.Stderr, "usage: controlplane %s [argument ...]\n", strings.Join(names, "|"))
	os.Exit(2)
}
