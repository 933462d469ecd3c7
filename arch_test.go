// Package torrente holds no code: its tests keep the shape of the whole.
package torrente

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// layers lists every package, lowest first. A package may import packages of
// the lines above its own, and none of its own line or below.
var layers = [][]string{
	{"internal/failpoint", "internal/crashfs", "internal/jsonhttp", "internal/throttle", "internal/fakenet", "internal/vectors", "internal/debian", "internal/netlab"},
	{"internal/control"},
	{"bencode", "identity", "choker", "natpmp"},
	{"metainfo", "payment"},
	{"peerwire", "tracker", "dht", "piece"},
	{"peerwire/mse", "tracker/server", "internal/wiretap"},
	{"swarm", "payment/contract"},
	{"payment/admission", "payment/ledger/fabric/invocation"},
	{"piece/store", "payment/ledger", "payment/wallet", "content"},
	{"payment/ledger/remote", "payment/ledger/fabric", "payment/ledger/ledgertest"},
	{"node", "federation", "lab"},
	{"web", "rpc"},
	{"cmd/torrente", "deploy/fabric/torrente-fabric", "deploy/natlab"},
}

// pure lists the packages that only compute: no goroutine, lock, clock, file
// or socket. They run unchanged in the node, in the simulator and, as
// payment/contract, in chaincode.
var pure = []string{
	"bencode", "metainfo", "peerwire", "piece", "choker",
	"payment", "payment/contract", "swarm",
}

// ordered lists the pure packages whose outputs must not depend on the order
// in which Go walks a map: same inputs, same outputs.
var ordered = []string{"swarm", "choker", "payment/contract"}

// impureImports are refused in pure packages, with everything below them.
var impureImports = []string{
	"sync", "context", "os", "io/fs", "net", "log", "syscall", "runtime", "unsafe",
	"crypto/rand", "crypto/tls", "math/rand", "golang.org/x/sys", "golang.org/x/net",
	"testing/synctest",
	module + "internal/failpoint", module + "internal/crashfs", // they kill and write
}

// impureExceptions are below a refused import, yet have no effect.
var impureExceptions = []string{"net/netip", "net/url", "math/rand/v2"}

// impureCalls are the functions of allowed packages that read a clock or a
// global source of randomness.
var impureCalls = map[string][]string{
	"time":         {"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"},
	"math/rand/v2": {"Int", "IntN", "Int32", "Int32N", "Int64", "Int64N", "N", "Uint", "UintN", "Uint32", "Uint32N", "Uint64", "Uint64N", "Float32", "Float64", "Perm", "Shuffle", "NormFloat64", "ExpFloat64"},
}

const module = "torrente/"

func TestImportsPointDown(t *testing.T) {
	for _, p := range load(t) {
		name := strings.TrimPrefix(p.PkgPath, module)
		own := layerOf(name)
		if own < 0 {
			t.Errorf("%s is in no layer: add it to layers here and to ARCHITECTURE.md", name)
			continue
		}
		for path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			if ours && layerOf(imported) >= own {
				t.Errorf("%s imports %s, which is not below it", name, imported)
			}
		}
	}
}

func TestPurePackagesOnlyCompute(t *testing.T) {
	for _, p := range load(t) {
		name := strings.TrimPrefix(p.PkgPath, module)
		if !slices.Contains(pure, name) {
			continue
		}
		for path := range p.Imports {
			if refusedImport(path) {
				t.Errorf("%s is pure but imports %s", name, path)
			}
		}
		for _, f := range p.Syntax {
			for _, v := range impurities(p, f, slices.Contains(ordered, name)) {
				t.Errorf("%s is pure: %s", name, v)
			}
		}
	}
}

func TestPurityIsNoticed(t *testing.T) {
	const src = `package x
import "time"
func f(m map[int]int, c chan int) {
	go f(nil, nil)
	select {}
	for range m {}
	_ = time.Now()
	c <- 1
	time.Sleep(1)
}`
	got := impuritiesOf(t, src)
	for _, want := range []string{"goroutine", "select", "range over a map", "time.Now", "time.Sleep", "channel"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%s was not noticed in %q", want, got)
		}
	}
	for path, want := range map[string]bool{"net": true, "net/netip": false, "net/http": true, "sync/atomic": true, "math/rand": true, "math/rand/v2": false, "crypto/sha256": false, "torrente/internal/failpoint": true, "torrente/internal/vectors": false, "network": false} {
		if refusedImport(path) != want {
			t.Errorf("refusedImport(%q) is not %v", path, want)
		}
	}
}

// load type-checks all packages of the module, without their tests.
func load(t *testing.T) []*packages.Package {
	t.Helper()
	ps, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedImports | packages.NeedFiles | packages.NeedSyntax |
			packages.NeedTypes | packages.NeedTypesInfo | packages.NeedExportFile,
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) < 2 {
		t.Fatalf("only %d packages found", len(ps))
	}
	for _, p := range ps {
		for _, e := range p.Errors {
			t.Errorf("%s: %v", p.PkgPath, e)
		}
	}
	return slices.DeleteFunc(ps, func(p *packages.Package) bool { return p.PkgPath == "torrente" })
}

func layerOf(name string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, name) })
}

func refusedImport(path string) bool {
	if slices.Contains(impureExceptions, path) {
		return false
	}
	return slices.ContainsFunc(impureImports, func(bad string) bool {
		return path == bad || strings.HasPrefix(path, bad+"/")
	})
}

// impurities lists what in one file starts a goroutine, waits, reads a clock,
// or, in an ordered package, walks a map.
func impurities(p *packages.Package, f *ast.File, orderMatters bool) (found []string) {
	note := func(n ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s: %s", p.Fset.Position(n.Pos()), what))
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			note(n, "starts a goroutine")
		case *ast.SelectStmt:
			note(n, "waits in select")
		case *ast.SendStmt, *ast.ChanType:
			note(n, "uses a channel")
		case *ast.RangeStmt:
			if _, isMap := p.TypesInfo.TypeOf(n.X).Underlying().(*types.Map); isMap && orderMatters {
				note(n, "range over a map: sort its keys first")
			}
		case *ast.SelectorExpr:
			if obj, ok := p.TypesInfo.Uses[n.Sel].(*types.Func); ok && isImpureCall(obj) {
				note(n, "calls "+obj.Pkg().Name()+"."+obj.Name())
			}
		}
		return true
	})
	return found
}

func isImpureCall(f *types.Func) bool {
	if f.Pkg() == nil || f.Signature().Recv() != nil {
		return false
	}
	return slices.Contains(impureCalls[f.Pkg().Path()], f.Name())
}

// impuritiesOf checks one made-up file, so that the check itself is tested.
func impuritiesOf(t *testing.T, src string) []string {
	t.Helper()
	p, f := checkSource(t, src)
	return impurities(p, f, true)
}

func checkSource(t *testing.T, src string) (*packages.Package, *ast.File) {
	t.Helper()
	dir := t.TempDir()
	ps, err := packages.Load(&packages.Config{
		Mode:    packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports,
		Fset:    token.NewFileSet(),
		Overlay: map[string][]byte{dir + "/x.go": []byte(src)},
	}, "file="+dir+"/x.go")
	if err != nil || len(ps) != 1 || len(ps[0].Syntax) != 1 {
		t.Fatalf("loading the made-up file: %v, %d packages", err, len(ps))
	}
	return ps[0], ps[0].Syntax[0]
}
