package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// errUpgrading says that the members may run two chaincodes, and the channel may
// know of either.
var errUpgrading = errors.New("the chaincode was not upgraded wholly: give upgrade once more, and go on then")

// upgrade builds the chaincode from the source as it is now and puts it in place
// of the one that is in force. Both run until the members have approved it and
// the channel has agreed on it, so that no call fails meanwhile. What an earlier
// run left unfinished is gone on with.
func upgrade(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	switch {
	case err != nil:
		return err
	case !made || !n.Begun:
		return fmt.Errorf("%s holds no network with a chaincode: make one with up and deploy", n.dir)
	case n.Joining != "":
		return n.joining()
	case n.Leaving != "":
		return n.rotating()
	}
	if err := n.buildTools(ctx); err != nil {
		return err
	}
	before := n.release()
	if err := n.retire(&release{n: n, sequence: before.sequence - 1}); err != nil { // if an earlier run did not
		return err
	}
	if n.Next == nil {
		if err := n.keep(func() error { return nil }, func() { n.Next = make([]string, len(n.Members)) }); err != nil {
			return err
		}
	}
	// The program that an interrupted run has built may be of other source.
	next := n.next()
	if err := errors.Join(next.stop(), n.buildChaincode(ctx, next.program())); err != nil {
		return err
	}
	for i := range n.Members {
		if err := next.serve(ctx, i); err != nil {
			return err
		}
	}
	if err := next.define(ctx); err != nil {
		return err
	}
	if err := n.keep(func() error { return nil }, func() { n.Sequence, n.Packages, n.Next = next.sequence, next.packages, nil }); err != nil {
		return err
	}
	return n.retire(before)
}

// retire ends a release that is no longer in force.
func (n *network) retire(r *release) error {
	if err := r.stop(); err != nil {
		return err
	}
	return os.RemoveAll(r.program())
}
