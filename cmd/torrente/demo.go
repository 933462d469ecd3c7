package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"torrente/payment"
)

// demoFacts is what `demo --json` prints.
type demoFacts struct {
	Bytes              int64          `json:"bytes"`
	Seconds            float64        `json:"seconds"` // of the paid download
	LinksPaid          uint64         `json:"links_paid"`
	LedgerTransactions uint64         `json:"ledger_transactions"`
	RedeemableBefore   payment.Amount `json:"redeemable_before"` // the seller's
	Redeemed           payment.Amount `json:"redeemed"`
	Payer              demoAccount    `json:"payer"`
	Payee              demoAccount    `json:"payee"`
	Minted             payment.Amount `json:"minted"`
	Conserved          bool           `json:"conserved"`
	PlainSeconds       float64        `json:"plain_seconds"` // of the same content as a free torrent
	PaidRatio          *float64       `json:"paid_ratio"`    // plain_seconds / seconds; null below 1 GiB
}

type demoAccount struct {
	Available payment.Amount `json:"available"`
	Frozen    payment.Amount `json:"frozen"`
}

// demoPairs is how many times the free and the paid download are compared when
// there is enough data for their times to mean something.
const (
	demoPairs    = 5
	demoRatioMin = 1 << 30
	demoPrice    = 1
)

func newDemo(std stdio) *cobra.Command {
	var size, ledger string
	var asJSON bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "show a paid download: a federation, a seller and a buyer on this machine",
		Long: "Run a federation, a seller and a buyer as processes of their own, in fresh folders, over real sockets:\n" +
			"the buyer downloads paid, the seller redeems, and the books are checked.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := parseSize(size)
			if err != nil || n < 1 {
				return usageError{fmt.Errorf("--size %s is no size: give one as 64MiB", size)}
			}
			if ledger != "embedded" && ledger != "fabric" {
				return usageError{fmt.Errorf("--ledger %s is neither embedded nor fabric", ledger)}
			}
			return demo(c.Context(), std, n, ledger == "fabric", asJSON)
		},
	}
	c.Flags().StringVar(&size, "size", "64MiB", "how much is sold")
	c.Flags().StringVar(&ledger, "ledger", "embedded", "embedded, or fabric: a network of Hyperledger Fabric, of three organisations on this machine")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// stage is where a demonstration plays: a folder, and the children in it.
type stage struct {
	ctx      context.Context
	std      stdio
	self     string // our own executable
	dir      string
	password string
	children []*child
	network  *fabricNetwork // nil: the ledger is embedded
}

// child is a process of the demonstration.
type child struct {
	cmd  *exec.Cmd
	says *said
}

func demo(ctx context.Context, std stdio, size int64, onFabric, asJSON bool) (err error) {
	s, err := newStage(ctx, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	if onFabric {
		if s.network, err = newFabricNetwork(s); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	f, err := s.play(size)
	if err != nil {
		return interrupted(ctx, fmt.Errorf("demo: %w", err))
	}
	if asJSON {
		err = printJSON(std.out, f)
	} else {
		err = printDemo(std.out, f)
	}
	if err == nil && !f.Conserved {
		err = errors.New("demo: the books are not conserved: this is a defect, please report it")
	}
	return err
}

func newStage(ctx context.Context, std stdio) (*stage, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "torrente-demo-")
	if err != nil {
		return nil, err
	}
	return &stage{ctx: ctx, std: std, self: self, dir: dir, password: rand.Text()}, nil
}

// strike ends what still runs and removes the folder.
func (s *stage) strike() error {
	for _, c := range slices.Backward(s.children) {
		c.end()
	}
	return errors.Join(s.network.down(), os.RemoveAll(s.dir))
}

func (s *stage) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *stage) tell(format string, args ...any) { fmt.Fprintf(s.std.err, format+"\n", args...) }

// command is one of our own commands, with nothing of the user's own settings.
func (s *stage) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(s.ctx, s.self, args...)
	c.Env = append(os.Environ(), "TORRENTE_PASSWORD="+s.password, "TORRENTE_HOME="+s.path("home"))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 20 * time.Second
	return c
}

// do runs a command to its end and returns what it printed.
func (s *stage) do(args ...string) ([]byte, error) {
	c := s.command(args...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return out, nil
}

// doJSON runs a command that prints one JSON object.
func (s *stage) doJSON(into any, args ...string) error {
	out, err := s.do(append(args, "--json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

// start runs a command beside us, until it has said something.
func (s *stage) start(until string, args ...string) (*child, string, error) {
	c := &child{cmd: s.command(args...), says: newSaid(until)}
	c.cmd.Stdout, c.cmd.Stderr = c.says, c.says
	if err := c.cmd.Start(); err != nil {
		return nil, "", err
	}
	s.children = append(s.children, c)
	go func() { c.says.ended(c.cmd.Wait()) }()
	line, err := c.says.wait(s.ctx)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", args[0], err)
	}
	return c, line, nil
}

// end interrupts a child and waits for it.
func (c *child) end() {
	c.cmd.Process.Signal(os.Interrupt) // it has ended already, or will
	<-c.says.done
}

// play is the demonstration itself.
func (s *stage) play(size int64) (*demoFacts, error) {
	units := (size + payment.UnitBytes - 1) / payment.UnitBytes
	rounds := int64(1)
	if size >= demoRatioMin {
		rounds = demoPairs
	}
	funds := (units*demoPrice*125 + 99) / 100 * rounds
	s.tell("a federation begins, with %d coins", funds+1)
	portal, err := s.federation(funds + 1)
	if err != nil {
		return nil, err
	}
	accounts := map[string]int64{"seller": 1, "buyer": funds}
	for _, name := range []string{"seller", "buyer"} {
		if err := s.enrol(name, portal, accounts[name]); err != nil {
			return nil, err
		}
		s.tell("the %s is enrolled, with %s", name, coins(payment.Amount(accounts[name])))
	}
	at, seller, err := s.sell(size)
	if err != nil {
		return nil, err
	}
	f := &demoFacts{Bytes: size}
	if err := s.compare(f, at, int(rounds), funds); err != nil {
		return nil, err
	}
	if err := s.settle(f, payment.Amount(accounts["seller"])); err != nil {
		return nil, err
	}
	seller.end()
	return f, nil
}

func (s *stage) federation(coins int64) (portal string, err error) {
	dir := s.path("federation")
	begin := []string{"federation", "init", "--dir", dir, "--name", "demo", "--price", strconv.Itoa(demoPrice), "--treasury", strconv.FormatInt(coins, 10)}
	if _, err := s.do(append(begin, s.network.flags()...)...); err != nil {
		return "", err
	}
	if err := s.network.up(filepath.Join(dir, "genesis")); err != nil {
		return "", err
	}
	_, line, err := s.start("tracker http", "federation", "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--tracker", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(line, ": ")
	portal, _, _ = strings.Cut(rest, " ")
	return portal, nil
}

func (s *stage) enrol(name, portal string, coins int64) error {
	code, err := s.do("federation", "invite", "--dir", s.path("federation"), name)
	if err != nil {
		return err
	}
	if _, err := s.do("enroll", "--home", s.path(name), "--federation", portal, "--invite", strings.TrimSpace(string(code))); err != nil {
		return err
	}
	_, err = s.do("federation", "fund", "--dir", s.path("federation"), name, strconv.FormatInt(coins, 10))
	return err
}

// sell makes the goods and two torrents of them, one sold and one free, and
// seeds both.
func (s *stage) sell(size int64) (at string, seller *child, err error) {
	if err := makeGoodsFile(s.path("goods"), size); err != nil {
		return "", nil, err
	}
	for name, flags := range map[string][]string{"sold": {"--paid"}, "free": nil} {
		args := append([]string{"create", s.path("goods"), "--home", s.path("seller"), "-o", s.path(name + ".torrent")}, flags...)
		if _, err := s.do(args...); err != nil {
			return "", nil, err
		}
	}
	seller, line, err := s.start("seeding on port", "seed", s.path("sold.torrent"), s.path("free.torrent"),
		"--home", s.path("seller"), "--dir", s.dir, "--bind", "127.0.0.1", "--port", "0")
	if err != nil {
		return "", nil, err
	}
	at = net.JoinHostPort("127.0.0.1", line[strings.LastIndexByte(line, ' ')+1:])
	s.tell("the seller offers %s at %s", formatSize(size), at)
	return at, seller, nil
}

func makeGoodsFile(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	return errors.Join(err, f.Close())
}

// compare downloads free and paid, in turn.
func (s *stage) compare(f *demoFacts, at string, rounds int, funds int64) error {
	var plain, paid []float64
	for i := range rounds {
		free, err := s.fetch("buyer", "free", i, at, "--plain")
		if err != nil {
			return err
		}
		bought, err := s.fetch("buyer", "sold", i, at, "--pay-up-to", strconv.FormatInt(funds, 10))
		if err != nil {
			return err
		}
		plain, paid = append(plain, free.Seconds), append(paid, bought.Seconds)
		f.LinksPaid += bought.Paid
		s.tell("free in %.2f s, paid in %.2f s for %d links", free.Seconds, bought.Seconds, bought.Paid)
	}
	f.PlainSeconds, f.Seconds = median(plain), median(paid)
	if f.Bytes >= demoRatioMin {
		ratio := f.PlainSeconds / f.Seconds
		f.PaidRatio = &ratio
	}
	return nil
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// fetch downloads one of the torrents into a fresh folder and compares it with
// the goods.
func (s *stage) fetch(buyer, name string, round int, at string, more ...string) (f getFacts, err error) {
	dir := s.path(fmt.Sprintf("%s-%d", name, round))
	defer os.RemoveAll(dir)
	// The buyer forgets what it has of this torrent: it downloads anew.
	defer os.RemoveAll(s.path(buyer, "resume"))
	args := []string{
		"get", s.path(name + ".torrent"), "--home", s.path(buyer), "--dir", dir, "--bind", "127.0.0.1", "--port", "0", "--peer", at,
	}
	if err := s.doJSON(&f, append(args, more...)...); err != nil {
		return f, err
	}
	same, err := sameFiles(s.path("goods"), filepath.Join(dir, "goods"))
	if err == nil && !same {
		err = errors.New("the download differs from the goods")
	}
	return f, err
}

func sameFiles(a, b string) (bool, error) {
	x, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errX := io.ReadFull(x, p)
		m, errY := io.ReadFull(y, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if errX != nil || errY != nil {
			return errX == errY, nil
		}
	}
}

// settle lets the seller, which is running, redeem, and takes the figures from
// the ledger. What it has redeemed by itself before, if the downloads took long,
// counts as well: it began with so many coins.
func (s *stage) settle(f *demoFacts, began payment.Amount) error {
	var before, payee, payer balanceFacts
	var redeemed redeemFacts
	if err := s.doJSON(&before, "wallet", "balance", "--home", s.path("seller")); err != nil {
		return err
	}
	if err := s.doJSON(&redeemed, "wallet", "redeem", "--home", s.path("seller")); err != nil {
		return err
	}
	if err := s.doJSON(&payee, "wallet", "balance", "--home", s.path("seller")); err != nil {
		return err
	}
	if err := s.doJSON(&payer, "wallet", "balance", "--home", s.path("buyer")); err != nil {
		return err
	}
	var books struct {
		Transactions uint64         `json:"transactions"`
		Minted       payment.Amount `json:"minted"`
		Conserved    bool           `json:"conserved"`
	}
	if err := s.doJSON(&books, "ledger", "verify", "--dir", s.path("federation")); err != nil {
		return err
	}
	for _, b := range []*balanceFacts{&before, &payee, &payer} {
		if b.Trouble != "" {
			return errors.New(b.Trouble)
		}
	}
	f.RedeemableBefore, f.Redeemed = before.Redeemable+before.Available-began, payee.Available-began
	f.Payer, f.Payee = demoAccount{payer.Available, payer.Frozen}, demoAccount{payee.Available, payee.Frozen}
	f.Minted, f.LedgerTransactions = books.Minted, books.Transactions
	sum := f.Payer.Available + f.Payer.Frozen + f.Payee.Available + f.Payee.Frozen
	f.Conserved = books.Conserved && sum == f.Minted && f.Redeemed == f.RedeemableBefore &&
		uint64(f.Redeemed) == f.LinksPaid*demoPrice
	return nil
}

func printDemo(w io.Writer, f *demoFacts) error {
	_, err := fmt.Fprintf(w, `sold          %s in %.2f s (free: %.2f s)
paid          %d links, one for each 16 KiB
redeemable    %s, by the seller's links
redeemed      %s
buyer has     %s, and %s frozen
seller has    %s
ledger        %d transactions, %s minted, conserved: %s
`, formatSize(f.Bytes), f.Seconds, f.PlainSeconds, f.LinksPaid, coins(f.RedeemableBefore), coins(f.Redeemed),
		coins(f.Payer.Available), coins(f.Payer.Frozen), coins(f.Payee.Available),
		f.LedgerTransactions, coins(f.Minted), yesNo(f.Conserved))
	return err
}
