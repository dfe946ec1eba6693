module github.com/tapewire/tapewire/bench

go 1.26.8

replace github.com/tapewire/tapewire => ../
