//! `namespace-selector` and `cluster-selector` in the grammar of the server.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};
use sync_core::contract::selector::Selector;
use testbed::shared;

use crate::support::{Kind, World};

const NAMESPACES: [(&str, &[(&str, &str)]); 7] = [
    ("grammar-bare", &[]),
    ("grammar-prod", &[("env", "prod"), ("tier", "front")]),
    ("grammar-dev", &[("env", "dev"), ("n", "5")]),
    ("grammar-empty", &[("env", ""), ("n", "0")]),
    ("grammar-number", &[("n", "12"), ("in", "x"), ("a.b/c_D", "v.1")]),
    ("grammar-words", &[("notin", "in"), ("env", "in"), ("n", "many")]),
    ("grammar-large", &[("n", "9223372036854775807"), ("env", "Prod")]),
];

/// Some the server takes and some it refuses; which is which, it says itself.
const SELECTORS: &str = "\
    env | !env | ! env | env=prod | env==prod | env = prod | env!=prod | env !=prod | env= | env== | env!= | \
    env in (prod) | env in (prod,dev) | env in ( prod , dev ) | env in(prod) | env in () | env in (,) | \
    env in (prod,) | env in (,prod) | env in (a,,prod) | env in (a,,,prod) | env notin (prod) | env notin () | \
    env notin (prod,dev),n | n>4 | n > 4 | n<6 | n>-4 | n<-1 | n>0 | n<0 | n>9223372036854775806 | \
    n>9223372036854775807 | n>9223372036854775808 | n>007 | in | in in (x) | notin in (in) | env=in | \
    env in (in,notin) | notin notin (in) | a.b/c_D | a.b/c_D=v.1 | env=prod,tier=front | env,!tier | env,tier, | \
    env=prod\t,\n tier |  | , | ,env | env,,tier | env tier | env=prod tier | !env=prod | ! | !!env | env in prod | \
    env in (prod | env in prod) | env in (prod dev) | env in (prod!) | (env) | env=(prod) | =prod | env=!prod | \
    env===prod | env= =prod | env><5 | n> | n>many | n>+1 | -env | env=-prod | A.b/c=x | a/b/c | env=pr\u{f6}d | \
    env;tier";

/// Every byte that could mean something in a query, escaped.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_selector_means_what_it_means_to_the_server() -> Result<()> {
    let cluster = shared("agent").await?;
    let world = World::of(&cluster);
    let mut all = Vec::new();
    for (name, labels) in NAMESPACES {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let namespace = world.labelled(name, &json!(labels)).await?;
        // What the server adds is there to be selected too.
        all.push((name, serde_json::from_value::<BTreeMap<String, String>>(namespace["metadata"]["labels"].clone())?));
    }
    let (mut taken, mut refused) = (0, 0);
    for selector in SELECTORS.split('|').map(str::trim).chain(["kubernetes.io/metadata.name=grammar-dev"]) {
        let uri = format!("/api/v1/{}?labelSelector={}", Kind::Namespace.plural(), escaped(selector));
        let server = match world.list(&uri).await {
            Ok(list) => Some(list),
            Err(error) => match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) if status.code == 400 => None,
                _ => return Err(error),
            },
        };
        let ours = Selector::parse(selector);
        let Some(server) = server else {
            refused += 1;
            assert!(ours.is_err(), "the server refuses {selector:?}");
            continue;
        };
        if selector.is_empty() {
            // The one difference: for the server it is no selector, and selects everything.
            assert!(ours.is_err() && server.len() >= all.len());
            continue;
        }
        taken += 1;
        let ours = ours.map_err(|error| anyhow::anyhow!("the server takes {selector:?}: {error}"))?;
        let names = server.iter().filter_map(|namespace: &Value| namespace["metadata"]["name"].as_str());
        let selected: BTreeSet<_> = names.filter(|name| name.starts_with("grammar-")).collect();
        let by_us: BTreeSet<_> = all.iter().filter(|(_, labels)| ours.matches(labels)).map(|(name, _)| *name).collect();
        assert_eq!(by_us, selected, "{selector:?}");
    }
    println!("{taken} selectors select the same, {refused} are refused by both");
    assert!(taken >= 25 && refused >= 20, "{taken} and {refused}");
    Ok(())
}
