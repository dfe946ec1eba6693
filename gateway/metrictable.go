package gateway

var flowMetrics = metricGroup{
	question: "Is everything flowing?",
	intro:    "Begin with these four: a dataset that refuses records, a dataset that is not served, a producer that is not connected, a tape that has grown old.",
	families: []family{
		{"tapewire_dataset_writable", "gauge", "0 or 1", "dataset", "1 while a dataset takes records; 0 when its disk is full or failed, one of its logs is hurt, or it is not served.", "0 for a minute; the log has the cause and the remedy"},
		{"tapewire_dataset_not_served", "gauge", "1", "dataset,cause", "1 for a dataset that is there and not served. A dataset that is served has no line.", "any line; the log has the remedy, and a restart is none"},
		{"tapewire_producer_connected", "gauge", "0 or 1", "dataset,producer", "1 while a producer of this name is connected, 0 after it has left. A restart keeps the names of the streams that the dataset keeps.", "0 for longer than your adapter takes to reconnect, by name: `tapewire publish` has names of its own, which come and go"},
		{"tapewire_seconds_since_last_record", "gauge", "seconds", "dataset,schema", "Time since the newest record of a tape came. Where none came since the gateway started, the time since then.", "longer than the longest silence that the market has while it is open"},
		{"tapewire_producers", "gauge", "producers", "dataset", "Producers that are connected to a dataset now, whether or not a line of their own shows them.", "fewer than you run"},
		{"tapewire_producer_seconds_since_last_record", "gauge", "seconds", "dataset,producer", "Time since the newest record of this producer was accepted. A producer that has sent none since the gateway started has no line.", "as for the tape, where one producer of several could fall silent"},
		{"tapewire_producer_records_total", "counter", "records", "dataset,producer", "Records that were accepted under this name since the gateway started, over all its streams.", "a rate of 0 while the venue is open"},
		{"tapewire_producer_accepted_records", "gauge", "records", "dataset,producer", "Records that were ever accepted of the stream that a connected producer sends. A producer that is gone has no line.", ""},
		{"tapewire_published_records_total", "counter", "records", "", "Records committed since the gateway started.", "a rate of 0 while a venue is open"},
		{"tapewire_published_batches_total", "counter", "commits", "", "Commits since the gateway started; records for each commit show how well batches form.", ""},
		{"tapewire_tape_records", "gauge", "records", "dataset,schema", "Records ever committed to a tape, expired ones included.", ""},
		{"tapewire_connections_total", "counter", "connections", "", "Connections accepted since the gateway started.", ""},
		{"tapewire_panics_total", "counter", "panics", "", "Faults of the gateway itself that ended one connection instead of the process.", "any increase; report it with the log lines around it"},
		{"tapewire_build_info", "gauge", "1", "version", "1; the label is the version that runs.", "two versions where you expect one"},
	},
}

var slowMetrics = metricGroup{
	question: "Who is slow?",
	intro:    "`/sessions` has a session's key, address and send path.",
	families: []family{
		{"tapewire_session_lag_records", "gauge", "records", "session,dataset,schema", "How many records a subscriber is behind the end of a tape. A replay begins far behind and catches up.", "a live bot that stays behind for a minute"},
		{"tapewire_slow_reader_warnings_total", "counter", "warnings", "", "Warnings to live subscribers that were too far behind (`SlowBytes`, `SlowTime`).", "an increase; find the bot in `/sessions`"},
		{"tapewire_skipped_records_total", "counter", "records", "", "Records that slow subscribers were moved past. Each subscriber was told its exact count.", "an increase, where bots need every record"},
		{"tapewire_lane_changes_total", "counter", "changes", "", "Sessions that went from the hot lane to the cold one or back: they fell behind, or caught up.", ""},
		{"tapewire_paced_total", "counter", "waits", "", "Times that a producer had to wait because its key's `records_per_second` was used up. Nothing is lost.", "a steady increase: the key's limit is too low for its feed"},
		{"tapewire_unsynced_bytes", "gauge", "bytes", "dataset", "Bytes of records that are committed and not on disk yet: what a power cut would take.", "more than your disk writes in a few `--sync` intervals; at 4 GiB (`DefaultMaxUnsynced`) producers wait"},
	},
}

var missingMetrics = metricGroup{
	question: "What is missing?",
	intro: "The ledger of a dataset keeps a gap as long as a reader may come to it. `upstream`: the venue or the adapter lost records; `cut`: a recovery cut them, after a power cut for example; `damaged`, `quarantined`: their files are hurt or gone; " +
		"`expired`: retention removed them; `corrected`: a name was corrected, and nothing is missing; `other`: a cause in a producer's own words.",
	families: []family{
		{"tapewire_gaps_entered_total", "counter", "gaps", "dataset,cause", "Gaps that entered the ledger since the gateway started.", "an increase of any cause but `expired` and `corrected`"},
		{"tapewire_ledger_gaps", "gauge", "gaps", "dataset,cause", "Gaps that the ledger has. Those of a recovery at the start are in it.", "`cut`, `damaged` or `quarantined` above 0 after a start"},
		{"tapewire_ledger_gap_records", "gauge", "records", "dataset,cause", "Records that are missing in the gaps of the ledger, as far as their number is known.", ""},
		{"tapewire_gaps_not_entered_total", "counter", "gaps", "dataset", "Gaps that producers reported and the ledger had no room for, since the gateway started.", "any increase"},
		{"tapewire_damaged_records_total", "counter", "records", "", "Records that subscribers were told are damaged, instead of being sent them; each subscriber counts.", "any increase; run `tapewire journal verify`"},
		{"tapewire_oldest_record_timestamp_seconds", "gauge", "Unix seconds", "dataset,schema", "Time in the oldest kept record of a tape: `ts_recv`, or `ts_event` where the schema has no `ts_recv`. A replay can begin there. An empty tape, or one whose oldest record has no time, has no line.", "later than the oldest moment that your bots replay from"},
		{"tapewire_outlier_records_total", "counter", "records", "dataset,schema", "Records whose time was beyond the clock by more than `--max-clock-skew` when they came. They are kept, and no start goes by their time.", "any increase: a clock is wrong"},
		{"tapewire_off_tick_total", "counter", "records", "dataset", "Records with a price that is no multiple of the increment that their producer declared. With `strict=1` they are refused.", "an increase: the adapter's scale is wrong, or the venue changed its tick"},
		{"tapewire_bad_symbols_total", "counter", "names", "", "Names that were passed over because nobody could ask for them; the records of such an instrument have no name.", "an increase; the log names the producer"},
		{"tapewire_audit_lost_total", "counter", "entries", "", "Entries that the audit log could not keep.", "any increase: its disk is full, or too slow"},
	},
}

var costMetrics = metricGroup{
	question: "What does it cost?",
	intro:    "Everything here has a bound. Alert on the share of it that is in use, at 80 % say: `tapewire_files / tapewire_files_limit`.",
	families: []family{
		{"tapewire_disk_free_bytes", "gauge", "bytes", "", "Bytes that the gateway may still use on the filesystem of its data directory.", "less than a day of records takes"},
		{"tapewire_disk_size_bytes", "gauge", "bytes", "", "Bytes of that filesystem that are in use, by whatever program, or may be used.", ""},
		{"tapewire_retain_disk_ratio", "gauge", "ratio", "", "The part in use of what `--retain-disk` allows. From 1 on the oldest records go earlier than `--retain` says. With `--retain-disk forever` there is no line.", "above 0.95"},
		{"tapewire_dataset_disk_bytes", "gauge", "bytes", "dataset", "Bytes that a dataset's segments take on disk, with the room that is reserved for records to come. Block indexes, logs and quarantine are beside.", "growth that the filesystem will not bear"},
		{"tapewire_sockets", "gauge", "connections", "", "Clients that are connected now.", ""},
		{"tapewire_sockets_limit", "gauge", "connections", "", "The most clients at once (`--max-connections`).", "`tapewire_sockets` above 80 % of it"},
		{"tapewire_files", "gauge", "descriptors", "use", "Descriptors that are in use.", ""},
		{"tapewire_files_limit", "gauge", "descriptors", "use", "The share of the process's descriptors for a use.", "`tapewire_files` above 80 % of it: raise `LimitNOFILE=`"},
		{"tapewire_table_entries", "gauge", "entries", "dataset,table", "Entries of a dataset's table that kept records need.", ""},
		{"tapewire_table_limit", "gauge", "entries", "dataset,table", "The most entries of a dataset's table.", "`tapewire_table_entries` above 80 % of it"},
		{"tapewire_budget", "gauge", "bytes or entries", "of", "What all sessions together hold of a limit.", ""},
		{"tapewire_budget_limit", "gauge", "bytes or entries", "of", "The most that all sessions together may hold.", "`tapewire_budget` above 80 % of it"},
		{"tapewire_send_calls_total", "counter", "calls", "path", "Calls that sent records, by the path that the records took.", ""},
		{"tapewire_send_bytes_total", "counter", "bytes", "path", "Bytes of records that left, by path.", "a rate of 0 while records are published and bots are connected"},
		{"tapewire_tls_connections", "gauge", "connections", "", "TLS connections that are open. Without `--tls-listen` there is no line.", ""},
	},
}

var refusedMetrics = metricGroup{
	question: "What is refused?",
	intro:    "The log has the reason of each refusal, the audit log (`--audit`) who it was.",
	families: []family{
		{"tapewire_rejects_total", "counter", "refusals", "code", "Connections, lines, records and requests that were refused, by code.", "an increase of any code; `auth` may be somebody who guesses keys"},
		{"tapewire_tls_handshakes_total", "counter", "handshakes", "result", "TLS handshakes, by what came of them.", "an increase of `distrusted` (clients refuse your certificate) or `client_certificate`"},
		{"tapewire_tls_certificate_expires_timestamp_seconds", "gauge", "Unix seconds", "", "When the certificate that new connections get expires.", "less than two weeks away"},
	},
}
