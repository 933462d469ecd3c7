package natpmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"go.uber.org/goleak"
)

// roleVariable makes the test's binary play a role in a network namespace:
//
//	map PROTOCOLS   keeps port 9003 mapped and says hello there; ends with its input
//	dial ADDRESS    reads what it is told there
//	occupy          maps port 9003 to another address of the host
//	twice PROTOCOL  maps, maps again, releases: by one protocol, without a Mapper
const roleVariable = "TORRENTE_NATPMP_ROLE"

const labPort = 9003

// occupant is another address of the host.
var occupant = netip.MustParseAddr("192.168.7.35")

func play(role string) int {
	var name, argument string
	fmt.Sscan(role, &name, &argument)
	var err error
	switch name {
	case "map":
		err = playMapper(argument)
	case "dial":
		err = playDialer(argument)
	case "occupy":
		err = playOccupant()
	case "twice":
		err = playTwice(argument)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 1
	}
	return 0
}

// report is a line of what the mapper's role writes.
type report struct {
	Status   Status
	Sentence string
	Millis   int64 // since it began
}

func playMapper(argument string) error {
	ps, err := ParseProtocols(argument)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", labPort))
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		greet(l)
	}()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	m := New(Config{Port: labPort, Protocols: ps, Secret: []byte("kept by the node"), Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		tell(ctx, m)
	}()
	m.Run(ctx)
	l.Close()
	<-served
	<-reported
	return goleak.Find()
}

// greet says hello to everybody.
func greet(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, "hello")
		c.Close()
	}
}

// tell writes the status whenever it is another one.
func tell(ctx context.Context, m *Mapper) {
	began := time.Now()
	var last string
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		s := m.Status()
		b, _ := json.Marshal(s)
		if string(b) != last {
			last = string(b)
			line, _ := json.Marshal(struct {
				Status   Status
				Sentence string
				Millis   int64
			}{s, s.Sentence(), time.Since(began).Milliseconds()})
			fmt.Println(string(line))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func playDialer(address string) error {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	b, err := io.ReadAll(c)
	fmt.Print(string(b))
	return err
}

func playOccupant() error {
	gs, err := SystemGateways()
	if err != nil {
		return err
	}
	gs.IPv4.Local = []netip.Addr{occupant}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m, err := newNATPMP(gs.IPv4, &sync.WaitGroup{}).grant(ctx, wanted{transport: TCP, local: occupant, port: labPort, external: labPort})
	if err == nil && m.ExternalPort != labPort {
		err = fmt.Errorf("port %d", m.ExternalPort)
	}
	return err
}

// playTwice looks that a renewal gets the same port, and that a gateway
// forgets what is released.
func playTwice(argument string) error {
	gs, err := SystemGateways()
	if err != nil {
		return err
	}
	type one struct {
		speaker speaker
		local   netip.Addr
	}
	speakers := map[string]one{
		"pcp":     {newPCP(gs.IPv4, []byte("secret")), gs.IPv4.Local[0]},
		"natpmp":  {newNATPMP(gs.IPv4, &sync.WaitGroup{}), gs.IPv4.Local[0]},
		"upnp":    {newUPnP(gs.IPv4), gs.IPv4.Local[0]},
		"pcp6":    {newPCP(gs.IPv6, []byte("secret")), gs.IPv6.Local[0]},
		"pinhole": {newPinhole(gs.IPv4, gs.IPv6), gs.IPv6.Local[0]},
	}
	s, ok := speakers[argument]
	if !ok {
		return errors.New("no such protocol")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.speaker.probe(ctx); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	m, err := s.speaker.grant(ctx, wanted{transport: TCP, local: s.local, port: labPort, external: labPort})
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	again := m
	for range 3 {
		again, err = s.speaker.grant(ctx, again.again())
		if err != nil || !again.sameAs(m) {
			return fmt.Errorf("granted %v again as %v, %w", m, again, err)
		}
	}
	if err := s.speaker.check(ctx, again); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if err := s.speaker.release(ctx, again); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}
