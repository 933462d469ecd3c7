package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "torrente-fabric:", err)
		os.Exit(1)
	}
}

// options are the flags of all commands.
type options struct {
	dir, source, genesis      string
	organisation, certificate string
	orderer                   string
	port                      int
	blockTime                 time.Duration
}

func command() *cobra.Command {
	o := &options{}
	root := &cobra.Command{Use: "torrente-fabric", Short: "a Hyperledger Fabric network on one machine", SilenceErrors: true, SilenceUsage: true}
	f := root.PersistentFlags()
	f.StringVar(&o.dir, "dir", "", "folder of the network")
	f.StringVar(&o.source, "source", ".", "folder of this project's source")
	f.StringVar(&o.genesis, "genesis", "", "the ledger's genesis document, a file")
	f.StringVar(&o.organisation, "org", "", "the organisation to add, or whose certificates are renewed or one is revoked")
	f.StringVar(&o.certificate, "certificate", "", "the certificate to revoke, a PEM file")
	f.StringVar(&o.orderer, "orderer", "", "the orderer to rotate")
	f.DurationVar(&o.blockTime, "block-time", 100*time.Millisecond, "how long the orderers of a new network collect transactions for a block")
	f.IntVar(&o.port, "port", 0, fmt.Sprintf("first of the 1000 ports of a new network (default %d)", defaultPort))
	_ = root.MarkPersistentFlagRequired("dir") // the flag is there
	for name, c := range map[string]struct {
		short string
		do    func(ctx context.Context, o *options) error
	}{
		"up": {"make and start the network, or start it again", up}, "down": {"stop the network; its data stays", down},
		"status": {"say what runs", status}, "deploy": {"install the chaincode and begin the ledger", deploy},
		"add-org": {"have one more organisation join", addOrganisation}, "renew": {"make the certificates of an organisation, or of the Orderers, anew", renew},
		"upgrade": {"put the chaincode of this source in place of the one that runs", upgrade}, "revoke": {"have no peer take a client's certificate any more", revoke},
		"rotate": {"put a new orderer in the place of one", rotate},
	} {
		root.AddCommand(&cobra.Command{
			Use: name, Short: c.short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return c.do(cmd.Context(), o) },
		})
	}
	return root
}
