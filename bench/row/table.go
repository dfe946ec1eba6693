package row

// Table is every row, in the order of the page.
var Table = []Entry{
	{"fan-out", "Fan-out flat out, 16 subscribers", Quick, fanOutFlatOut},
	{"ingest", "Ingest flat out, one producer", Quick, ingestFlatOut},
	{"latency", "Publish to receive, one record at a time", Quick, oneAtATime},
	{"catch-up", "Catch-up from the page cache", Default, catchUp},
}
