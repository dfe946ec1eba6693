package journal

import (
	"fmt"
	"path/filepath"
)

// ListMappings is the entries of a dataset's symbol table, in the order of the log. It takes no lock and changes nothing: it may be used while a server runs.
func ListMappings(dir, dataset string) ([]Mapping, error) {
	if err := CheckDataset(dataset); err != nil {
		return nil, err
	}
	v, err := loadView(OSDisk{}, filepath.Join(dir, dataset))
	if err != nil {
		return nil, fmt.Errorf("symbols of %s: %w", dataset, err)
	}
	var list []Mapping
	for _, p := range v.symbols {
		n := len(list)
		if list, err = parseMappings(list, p); err != nil {
			return nil, err
		}
		if list[n].Kind == kindSeen || list[n].Kind == kindNext {
			list = list[:n]
		}
	}
	return list, nil
}
