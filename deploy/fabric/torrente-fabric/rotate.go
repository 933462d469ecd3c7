package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// rotate puts a new orderer, with keys, a port and a folder of its own, in the place
// of one, which may be dead. The new one reads all blocks before it counts; then the
// channel's configuration is changed twice, since Raft changes one consenter at a
// time. What an earlier run left unfinished is gone on with.
func rotate(ctx context.Context, o *options) error {
	n, made, err := openNetwork(o)
	if err != nil {
		return err
	}
	if slices.Contains(n.Gone, o.orderer) {
		return nil // an earlier run was interrupted when all was done
	}
	if err := n.mayRotate(made, o.orderer); err != nil {
		return err
	}
	if err := n.buildTools(ctx); err != nil {
		return err
	}
	if n.Leaving == "" {
		n.passOver()
		if err := n.keep(n.makeComing, func() { n.Orderers, n.Leaving = n.Orderers+1, o.orderer }); err != nil {
			return err
		}
	}
	if err := n.replace(ctx, n.leaving(), n.coming()); err != nil {
		return err
	}
	return n.dismiss(ctx, n.leaving())
}

// mayRotate says whether an orderer can be rotated now.
func (n *network) mayRotate(made bool, name string) error {
	all := n.consenters()
	called := func(o node) bool { return o.Name == name }
	switch {
	case !made || !n.Joined:
		return fmt.Errorf("%s holds no network: make one with up", n.dir)
	case n.Leaving != "" && n.Leaving == name:
		return nil
	case n.Leaving != "":
		return n.rotating()
	case n.Next != nil:
		return errUpgrading
	case n.Joining != "":
		return n.joining()
	case !slices.ContainsFunc(all, called):
		return fmt.Errorf("%.80q is no orderer of the network, which are %s: name one with --orderer", name, namesOf(all))
	case n.Orderers > maxOrderers-maxNodes:
		return fmt.Errorf("the network in %s has had %d orderers, and can have no other: make another network", n.dir, n.Orderers)
	}
	return nil
}

func namesOf(all []node) string {
	var names []string
	for _, one := range all {
		names = append(names, one.Name)
	}
	return strings.Join(names, ", ")
}

// rotating says what there is to do before anything else is changed: the channel may
// know of both orderers.
func (n *network) rotating() error {
	return fmt.Errorf("%s was not rotated wholly: give rotate --orderer %s once more, and go on then", n.Leaving, n.Leaving)
}

// leaving is the orderer that rotate takes out, and coming the one that takes its
// place.
func (n *network) leaving() node {
	all := n.consenters()
	return all[slices.IndexFunc(all, func(o node) bool { return o.Name == n.Leaving })]
}

func (n *network) coming() node { return n.orderer(n.Orderers - 1) }

// comes says whether an orderer is one that rotate has not finished with.
func (n *network) comes(o node) bool { return n.Leaving != "" && o.Name == n.coming().Name }

// passOver leaves out the numbers of orderers that would have the port of another.
func (n *network) passOver() {
	for next := n.orderer(n.Orderers); anyAt(n.consenters(), next.Port); next = n.orderer(n.Orderers) {
		n.Gone, n.Orderers = append(n.Gone, next.Name), n.Orderers+1
	}
}

func anyAt(all []node, port int) bool {
	return slices.ContainsFunc(all, func(one node) bool { return one.Port == port })
}

// makeComing makes the files of one more orderer.
func (n *network) makeComing() error {
	org, err := openOrganisation(n.organisation(ordererMSP))
	if err != nil {
		return err
	}
	o := n.orderer(n.Orderers)
	return errors.Join(org.makeNode(o.Name, "orderer"), n.configureOrderer(o))
}

// replace has the channel know the one orderer in place of the other. While the old one
// runs the new one is added first, so that one may die at any time. Without it a
// majority of four would be all that run, which Fabric refuses: it is taken out first.
func (n *network) replace(ctx context.Context, leaving, coming node) error {
	if err := n.startAll(ctx); err != nil {
		return err
	}
	if err := waitFor(ctx, patience, n.hasLeader); err != nil {
		return err
	}
	if err := n.follow(ctx, coming); err != nil {
		return err
	}
	steps := []func() error{
		func() error { return n.addConsenter(ctx, coming) },
		func() error { return n.removeConsenter(ctx, leaving) },
	}
	if n.isBack(leaving) != nil {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return waitFor(ctx, patience, n.hasLeader)
}

// rotationFolder is where the changes of the channel's configuration are written.
func (n *network) rotationFolder() string { return n.path("channel", "rotate-"+n.Leaving) }

// follow has an orderer read the blocks without a say in what is ordered.
func (n *network) follow(ctx context.Context, o node) error {
	block, err := n.fetchConfig(ctx, n.rotationFolder())
	if err != nil {
		return err
	}
	if err := n.joinOrderer(ctx, o, block); err != nil {
		return err
	}
	return n.readAll(ctx, o)
}

// readAll waits until an orderer has read all blocks, for as long as it goes on.
func (n *network) readAll(ctx context.Context, o node) error {
	for answer := ""; !strings.Contains(answer, `"status": "active"`); {
		before := answer
		err := waitFor(ctx, patience, func() (err error) {
			if answer, err = n.osnadmin(ctx, o, "list"); err == nil && answer == before {
				err = fmt.Errorf("%s reads no more blocks, see %s: give rotate once more", o.Name, n.path("log", o.Name))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// addConsenter has an orderer take part, and waits until it does.
func (n *network) addConsenter(ctx context.Context, o node) error {
	certificate, err := os.ReadFile(filepath.Join(o.Dir, "tls", "server.crt"))
	if err != nil {
		return err
	}
	if err := n.reconfigure(ctx, func(config map[string]any) (bool, error) { return addConsenter(config, o.Port, certificate) }); err != nil {
		return fmt.Errorf("the channel does not take %s: start the other orderers with up, and give rotate once more: %w", o.Name, err)
	}
	return waitFor(ctx, patience, func() error { return n.isBack(o) })
}

// removeConsenter takes an orderer out, and has nobody take a block with its
// signature any more: its disk may be in other hands.
func (n *network) removeConsenter(ctx context.Context, o node) error {
	err := n.reconfigure(ctx, func(config map[string]any) (bool, error) {
		if there, err := removeConsenter(config, o.Port); !there || err != nil {
			return false, err
		}
		return n.revokeOrderer(config, o)
	})
	if err != nil {
		return fmt.Errorf("the channel does not let %s go: start the other orderers with up, and give rotate once more: %w", o.Name, err)
	}
	return nil
}

// reconfigure changes the channel's configuration as the orderers' administrator, until
// it is changed: a leader that takes a change may lose it before the others have it.
func (n *network) reconfigure(ctx context.Context, change func(config map[string]any) (bool, error)) error {
	next, all := 0, n.staying()
	return waitFor(ctx, patience, func() error {
		update, err := n.configUpdate(ctx, n.rotationFolder(), change)
		if err != nil || update == "" {
			return err
		}
		if _, err := n.asAdminOf(ctx, ordererMSP, n.peer(0), "channel", "signconfigtx", "-f", update); err != nil {
			return err
		}
		err = n.through(ctx, all[next%len(all)], 0, "channel", "update", "-c", channel, "-f", update)
		next++
		return errors.Join(errors.New("the change is not in force"), err)
	})
}

// dismiss ends an orderer that the channel knows no more, and removes its data and its
// keys: nothing may be signed with them.
func (n *network) dismiss(ctx context.Context, o node) error {
	if err := errors.Join(n.stop(o.Name), os.RemoveAll(n.path(o.Name)), os.RemoveAll(o.Dir)); err != nil {
		return err
	}
	n.Gone, n.Leaving = append(n.Gone, o.Name), ""
	return n.keep(func() error { return n.adopt(ctx) }, func() {})
}
