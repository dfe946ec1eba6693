package journal

import (
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestNewDatasetIsLoggedAsCreatedNotAsRecovered(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	o := memOptions(NewMemDisk())
	o.Logger = zap.New(core)
	j := open(t, "j", o)
	create(t, j)
	if created, recovered := logs.FilterMessage("created").Len(), logs.FilterMessage("recovered").Len(); created != 1 || recovered != 0 {
		t.Errorf("a new dataset: %d lines say created, %d recovered", created, recovered)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, "j", o)
	if created, recovered := logs.FilterMessage("created").Len(), logs.FilterMessage("recovered").Len(); created != 1 || recovered != 1 {
		t.Errorf("after the second opening: %d lines say created, %d recovered", created, recovered)
	}
}

func TestDamagedDatasetIsNamedWithTheRemedy(t *testing.T) {
	disk := NewMemDisk()
	j := open(t, "j", memOptions(disk))
	create(t, j)
	if _, err := j.Create("WHOLE"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	dir := path.Join("j", testDataset)
	clear(disk.node(path.Join(dir, stateName)).data)
	if err := disk.Remove(path.Join(dir, syncLogName)); err != nil { // else the page is made again
		t.Fatal(err)
	}
	if err := disk.Remove(path.Join(dir, symbolsName)); err != nil {
		t.Fatal(err)
	}
	j, err := Open("j", memOptions(disk))
	if err != nil || j.Lookup("WHOLE") == nil || j.Lookup(testDataset) != nil {
		t.Fatalf("%v, want the other dataset to be served and this one not", err)
	}
	err = j.Damaged(testDataset)
	for _, want := range []string{"dataset " + testDataset, "restore " + dir + " from a copy and start again, or move it out of j"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if names, err := disk.List(dir); err != nil || slices.Contains(names, symbolsName) {
		t.Errorf("%v, %v: what cannot be recovered is left as it is", names, err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// A dataset that is made must not hold more files than the limits count for it.
func TestClosedDatasetsLeaveNoFileOpen(t *testing.T) {
	const datasets = 20
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which closes what was forgotten, some time
	openFiles := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := openFiles()
	j := open(t, t.TempDir(), Options{AnyFilesystem: true})
	for i := range datasets {
		if _, err := j.Create(fmt.Sprintf("D%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Go's poller may have come with a few of its own.
	if left := openFiles() - before; left >= datasets/2 {
		t.Errorf("%d files are open after %d datasets were made and closed", left, datasets)
	}
}
