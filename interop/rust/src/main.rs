//! Reads one dataset of a gateway with the official Rust client and says what arrived, one JSON line
//! per stage, for the tests in ../python to judge:
//!
//!   tapewire-interop HOST:PORT DATASET SCHEMA SYMBOLS STYPE_IN [ts_out] [reconnect=N] [without=SYMBOL]
//!
//! `replayed`: everything from start=0 to the end of the replay. With reconnect=N the session is then
//! read to its close (`closed`); a line on stdin asks for reconnect and resubscribe; `resumed` follows
//! after N more data records. With without=SYMBOL it unsubscribes from that one first. The key comes from DATABENTO_API_KEY. A refusal is the line `refused`.

use std::{collections::BTreeMap, error::Error, io::BufRead};

use databento::{
    dbn::{ErrorMsg, RecordRef, SType, Schema, SymbolMappingMsg, SystemCode, SystemMsg},
    live::{Subscription, Unsubscription},
    LiveClient, Symbols,
};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

const TS_OUT_BYTES: usize = 8;

/// What one stage received. Data records are hashed as they were published: without ts_out.
#[derive(Default)]
struct Seen {
    records: u64,
    bytes: Sha256,
    mappings: BTreeMap<u32, String>,
    systems: Vec<String>,
    errors: Vec<Value>,
    ts_out: [Option<u64>; 2],
    replayed: bool,
}

impl Seen {
    fn add(&mut self, rec: RecordRef<'_>, ts_out: bool) -> Result<(), Box<dyn Error>> {
        let raw = rec.as_ref();
        let body = if ts_out { raw.len() - TS_OUT_BYTES } else { raw.len() };
        if ts_out {
            let sent = u64::from_le_bytes(raw[body..].try_into()?);
            self.ts_out = [self.ts_out[0].or(Some(sent)), Some(sent)];
        }
        if let Some(m) = rec.get::<SymbolMappingMsg>() {
            self.mappings.insert(m.hd.instrument_id, m.stype_out_symbol()?.to_owned());
        } else if let Some(m) = rec.get::<SystemMsg>() {
            self.replayed |= m.code()? == SystemCode::ReplayCompleted;
            self.systems.push(m.msg()?.to_owned());
        } else if let Some(m) = rec.get::<ErrorMsg>() {
            self.errors.push(json!({"code": m.code, "text": m.err()?}));
        } else {
            self.records += 1;
            self.bytes.update([(body / 4) as u8]);
            self.bytes.update(&raw[1..body]);
        }
        Ok(())
    }

    fn print(self, stage: &str) {
        let sha: String = self.bytes.finalize().iter().map(|b| format!("{b:02x}")).collect();
        println!(
            "{}",
            json!({"stage": stage, "records": self.records, "sha256": sha, "mappings": self.mappings,
                   "systems": self.systems, "errors": self.errors, "ts_out": self.ts_out})
        );
    }
}

/// Reads until `enough` or the close of the session.
async fn read(
    client: &mut LiveClient,
    ts_out: bool,
    enough: impl Fn(&Seen) -> bool,
) -> Result<Seen, Box<dyn Error>> {
    let mut seen = Seen::default();
    while !enough(&seen) {
        match client.next_record().await? {
            Some(rec) => seen.add(rec, ts_out)?,
            None => break,
        }
    }
    Ok(seen)
}

async fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [addr, dataset, schema, symbols, stype, options @ ..] = args else {
        return Err("usage: HOST:PORT DATASET SCHEMA SYMBOLS STYPE_IN [ts_out] [reconnect=N] [without=SYMBOL]".into());
    };
    let ts_out = options.iter().any(|o| o == "ts_out");
    let resume: Option<u64> =
        options.iter().find_map(|o| o.strip_prefix("reconnect=")).map(str::parse).transpose()?;
    let without = options.iter().find_map(|o| o.strip_prefix("without="));
    let symbols = match symbols.as_str() {
        "ALL_SYMBOLS" => Symbols::All,
        list => Symbols::Symbols(list.split(',').map(str::to_owned).collect()),
    };
    let mut client = LiveClient::builder()
        .addr(addr)
        .await?
        .key_from_env()?
        .dataset(dataset)
        .send_ts_out(ts_out)
        .build()
        .await?;
    let subscription = Subscription::builder()
        .symbols(symbols)
        .schema(schema.parse::<Schema>()?)
        .stype_in(stype.parse::<SType>()?)
        .start(time::OffsetDateTime::UNIX_EPOCH)
        .build();
    client.subscribe(subscription).await?;
    if let Some(symbol) = without {
        let unsubscription = Unsubscription::builder()
            .schema(schema.parse::<Schema>()?)
            .stype_in(stype.parse::<SType>()?)
            .symbols(Symbols::Symbols(vec![symbol.to_owned()]))
            .build();
        client.unsubscribe(unsubscription).await?;
    }
    client.start().await?;
    read(&mut client, ts_out, |s| s.replayed).await?.print("replayed");
    let Some(n) = resume else {
        return Ok(client.close().await?);
    };
    read(&mut client, ts_out, |_| false).await?.print("closed");
    std::io::stdin().lock().read_line(&mut String::new())?;
    client.reconnect().await?;
    client.resubscribe().await?;
    client.start().await?;
    println!("{}", json!({"stage": "reconnected"}));
    read(&mut client, ts_out, |s| s.records >= n).await?.print("resumed");
    Ok(client.close().await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Err(err) = run(&args).await {
        println!("{}", json!({"stage": "refused", "error": err.to_string()}));
        std::process::exit(1);
    }
}
