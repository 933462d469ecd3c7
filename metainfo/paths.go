package metainfo

import (
	"fmt"
	"slices"
	"strings"
)

// checkPaths refuses two files that meet: on one path, or one where the other
// needs a folder. Sorted part by part, a path that leads through another stands
// right behind it.
func checkPaths(files []File) error {
	order := make([]int32, 0, len(files))
	for i, f := range files {
		if !f.Pad {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return slices.Compare(files[a].Path, files[b].Path) })
	for i := 1; i < len(order); i++ {
		a, b := files[order[i-1]].Path, files[order[i]].Path
		if len(a) > len(b) || !slices.Equal(a, b[:len(a)]) {
			continue
		}
		if len(a) == len(b) {
			return fmt.Errorf("two files are called %s", quoted(a))
		}
		return fmt.Errorf("%s is a file, and a folder of %s too", quoted(a), quoted(b))
	}
	return nil
}

// quoted is a path for an error's text.
func quoted(path []string) string { return fmt.Sprintf("%.200q", strings.Join(path, "/")) }
