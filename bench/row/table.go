package row

// Table is every row, in the order of the page.
var Table = []Entry{
	{"fan-out", "Fan-out flat out, 16 subscribers", Quick, fanOutFlatOut},
	{"peers", "Servers that keep what they deliver", All, peers},
	{"ingest", "Ingest flat out, one producer", Quick, ingestFlatOut},
	{"latency", "Publish to receive, one record at a time", Quick, oneAtATime},
	{"disturbed", "Latency beside a stalled subscriber, new segments and syncs", Default, disturbed},
	{"run-size", "Copy and zero copy by the size of a run", Default, runSize},
	{"catch-up", "Catch-up from the page cache", Default, catchUp},
	{"market-open", "A market open on both paths", Quick, marketOpen},
	{"growth", "Growth with the number of subscribers", Default, growth},
	{"idle", "Sessions that have nothing to do", Default, idle},
	{"filters", "Filters as desks use them, and ts_out", Quick, filters},
	{"tap", "The local tap", Quick, localTap},
	{"open", "Opening after kill -9", Default, opening},
}
