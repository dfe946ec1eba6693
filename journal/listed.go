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
	return v.mappings()
}

// mappings is the entries of the symbol table; with an error, those before it.
func (v *view) mappings() (list []Mapping, err error) {
	for _, p := range v.symbols {
		n := len(list)
		if list, err = parseMappings(list, p); err != nil {
			return list[:n], err
		}
		if list[n].Kind == kindSeen || list[n].Kind == kindNext {
			list = list[:n]
		}
	}
	return list, nil
}

// countSymbols is how many symbols the table has.
func (v *view) countSymbols() int {
	list, _ := v.mappings()
	symbols := map[string]struct{}{}
	for i := range list {
		symbols[list[i].Symbol] = struct{}{}
	}
	delete(symbols, "") // nobody
	return len(symbols)
}
