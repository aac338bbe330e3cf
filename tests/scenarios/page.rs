//! The status page, in a real browser: what it says, by keyboard, in light and dark, with a thousand clusters, and with
//! clusters that mean harm.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::{Attack, Browser, FaultProxy, HostileServer, Mode, Process, eventually, shared};

use crate::master::stage::{SOON, Stage, value};

const NAME: &str = "m-page";
/// Where pictures go, for whoever wants to look at them: a folder.
const PICTURES: &str = "MW_SYNC_TESTBED_PICTURES";

/// The address of the page, as the log says.
async fn address(process: &Process) -> String {
    eventually(SOON, "it has a status page", async || {
        let log = process.stderr();
        let line = log.lines().find(|line| line.contains("listening for kubectl port-forward")).context("no line")?;
        let address = line.split_once("address=").context("no address")?.1.split_whitespace().next();
        anyhow::Ok(format!("http://{}/", address.context("no address")?))
    })
    .await
}

async fn says(browser: &mut Browser, expression: &str, expected: &str) {
    // `eventually` polls a closure, and a browser answers one at a time.
    let browser = tokio::sync::Mutex::new(browser);
    eventually(SOON, format!("{expression} says {expected:?}"), async || {
        let said = browser.lock().await.eval(expression).await?;
        ensure!(said.as_str().is_some_and(|said| said.contains(expected)), "{said}");
        Ok(())
    })
    .await;
}

async fn picture(browser: &mut Browser, name: &str) -> Result<()> {
    let png = STANDARD.decode(browser.screenshot().await?)?;
    ensure!(png.starts_with(b"\x89PNG"), "no picture");
    if let Some(folder) = std::env::var_os(PICTURES) {
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), png)?;
    }
    Ok(())
}

const VERDICT: &str = "document.getElementById('verdict').textContent";

/// Text of the row of a source or a cluster, and of what is open below it.
fn row(key: &str) -> String {
    format!(
        "[...document.querySelectorAll('button.more')].filter((b) => b.textContent === '{key}').map((b) => {{ const row = \
         b.closest('tr'), next = row.nextElementSibling; return row.innerText + (next && next.className === 'detail' ? \
         next.innerText : '') }}).join('')"
    )
}

/// The least contrast of any text with what is behind it.
const CONTRAST: &str = "(() => {
    const light = (text) => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map((v) => v / 255)
        .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
        if (!/^rgba\\(.*, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
    let least = 99;
    for (const e of document.querySelectorAll('body *')) {
        if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
        least = Math.min(least, (a + 0.05) / (b + 0.05));
    }
    return least;
})()";

/// Who hears the page is told the same as who sees it: what there is has a name, and what can be worked says what it is.
async fn told_to_all(browser: &mut Browser) -> Result<()> {
    let tree = browser.accessible().await?;
    let told = |role: &str, name: &str| tree.iter().any(|(is, called)| is == role && called.contains(name));
    for (role, name) in [
        ("heading", "master of page, namespace m-page"),
        ("heading", "Sources"),
        ("heading", "Remote clusters"),
        ("table", "Sources"),
        ("columnheader", "Why, and what to do"),
        ("rowheader", "Secret/blocked"),
        ("button", "Secret/blocked"),
        ("searchbox", "find"),
        ("checkbox", "only what is not in place"),
        ("progressbar", "of 2 in place"),
    ] {
        ensure!(told(role, name), "no {role} {name:?}: {tree:#?}");
    }
    ensure!(tree.iter().any(|(role, _)| role == "status"), "changes are not told: {tree:#?}");
    let works = ["button", "searchbox", "checkbox", "progressbar", "table", "link", "textbox"];
    let nameless = tree.iter().find(|(role, name)| works.contains(&role.as_str()) && name.is_empty());
    ensure!(nameless.is_none(), "{nameless:?} has no name");
    Ok(())
}

#[tokio::test]
async fn the_page_says_whether_it_is_everywhere_and_if_not_where_and_why() -> Result<()> {
    let (management, remote) = (shared("management").await?, shared("remote-a").await?);
    let stage = Stage::new(&management, NAME).await?;
    let access = stage.prepare(&remote).await?;
    for place in ["m-page-x", "m-page-y"] {
        remote.kubectl(&["create", "namespace", place]).await?;
    }
    let master = stage.master(&["--cluster-name=page"]).await?;
    let inside = FaultProxy::start(remote.server_addr())?;
    let access_of_agent = stage.prepare_agent(&remote).await?.by_server(inside.url());
    let agent = stage.agent_by(&remote.write_kubeconfig(&access_of_agent)?, &["--max-in-flight=1"]).await?;
    let mut browser = Browser::start().await?;
    browser.window([1280, 800], false).await?;
    browser.open(&address(&master).await).await?;
    says(&mut browser, VERDICT, "no source is annotated").await;

    let only = json!({"mw-sync.io/namespaces": "m-page-*"});
    stage.join("a", &access).await?;
    stage.asking("regcred", "one", only.clone()).await?;
    stage.copy_is(&remote, "regcred", |copy| value(copy) == "one").await;
    says(&mut browser, VERDICT, "1 source: everything is in place").await;
    says(&mut browser, &row("Secret/regcred"), "1 of 1").await;
    says(&mut browser, &row("a"), " namespaces").await;

    // One namespace has something in the way, one cluster means harm.
    remote.kubectl(&["-n", "m-page-y", "create", "secret", "generic", "blocked"]).await?;
    stage.asking("blocked", "one", only).await?;
    let hostile = HostileServer::start().await?;
    stage.kubeconfig("bad", &hostile.kubeconfig(Attack::Markup).to_yaml()).await?;
    stage.remote_cluster("bad").await?;
    says(&mut browser, VERDICT, "2 sources are not in place, 1 cluster is not ready").await;
    says(&mut browser, &row("Secret/blocked"), "a: 0 pending and 1 refused there: ForeignObject in namespace m-page-y")
        .await;
    says(&mut browser, &row("bad"), "<script>alert(1)</script>").await;
    assert_eq!(browser.eval("document.scripts.length").await?, 1, "markup became a script");
    says(&mut browser, &row("bad"), "for ").await;

    // By keyboard: to the first source, which opens, stays open while news come, and keeps the focus.
    browser.eval("document.getElementById('sources-find').focus()").await?;
    browser.press("Tab").await?;
    assert_eq!(browser.eval("document.activeElement.textContent").await?, "Secret/blocked");
    browser.press("Enter").await?;
    says(&mut browser, &row("Secret/blocked"), "bad").await;
    stage.set("regcred", "two").await?;
    stage.copy_is(&remote, "regcred", |copy| value(copy) == "two").await;
    assert_eq!(browser.eval("document.activeElement.getAttribute('aria-expanded')").await?, "true");
    says(&mut browser, "document.activeElement.textContent", "Secret/blocked").await;
    told_to_all(&mut browser).await?;
    picture(&mut browser, "master-light").await?;
    let light = browser.eval(CONTRAST).await?;
    browser.window([1280, 800], true).await?;
    picture(&mut browser, "master-dark").await?;
    let dark = browser.eval(CONTRAST).await?;
    // What WCAG asks of text for level AA.
    assert!(light.as_f64() >= Some(4.5) && dark.as_f64() >= Some(4.5), "contrast {light} and {dark}");
    browser.window([400, 800], false).await?;
    picture(&mut browser, "master-narrow").await?;
    let wide = browser.eval("document.documentElement.scrollWidth").await?;
    assert!(wide.as_u64() <= Some(400), "{wide} of 400 pixels");

    // Found by a word, and only what is open.
    browser.window([1280, 800], false).await?;
    let find = "(() => { const f = document.getElementById('sources-find'); f.value = 'REGC'; f.dispatchEvent(new \
                Event('input')); return [...document.querySelectorAll('#sources button')].map((b) => b.textContent).join() })()";
    assert_eq!(browser.eval(find).await?, "Secret/regcred");

    // A frozen one has copies, and they follow.
    stage.annotate("regcred", json!({"mw-sync.io/clustres": "x"})).await?;
    says(&mut browser, &row("Secret/regcred"), "frozen").await;
    says(&mut browser, &row("Secret/regcred"), "clustres").await;
    says(&mut browser, &row("Secret/regcred"), "its copies follow, and none is created or deleted").await;
    let state = |more: Value| format!("stateOf(sourceOf(Object.assign({{synced: 2, reason: 'x'}}, {more})))[1]");
    assert_eq!(browser.eval(&state(json!({"frozen": true}))).await?, "frozen");
    assert_eq!(browser.eval(&state(json!({"leaving": true}))).await?, "leaving");
    assert_eq!(browser.eval(&state(json!({}))).await?, "no copies");
    stage.annotate("regcred", json!({"mw-sync.io/clustres": null})).await?;
    says(&mut browser, &row("Secret/regcred"), "1 of 2").await;

    // The agent's, in the same words.
    browser.open(&address(&agent).await).await?;
    says(&mut browser, VERDICT, "1 source is not in place").await;
    says(&mut browser, &row("Secret/blocked"), "m-page-y: ForeignObject").await;
    says(&mut browser, &row("Secret/blocked"), "delete or rename the object that stands there").await;
    says(&mut browser, &row("Secret/regcred"), "2 of 2").await;
    picture(&mut browser, "agent-light").await?;

    // A fan-out that takes some seconds, one copy after the other, is seen on its way.
    for n in 0..12 {
        remote.kubectl(&["create", "namespace", &format!("m-slow-{n}")]).await?;
    }
    inside.set(Mode::Delay(Duration::from_millis(400))).await;
    stage.asking("slow", "one", json!({"mw-sync.io/namespaces": "m-slow-*"})).await?;
    let on_its_way = "(() => { const row = [...document.querySelectorAll('#sources tr')].find((row) => \
                      row.textContent.includes('Secret/slow')), bar = row && row.querySelector('progress'); \
                      return bar && bar.value > 0 && bar.value < bar.max ? row.innerText : ''; })()";
    says(&mut browser, on_its_way, "under way").await;
    inside.set(Mode::Pass).await;
    says(&mut browser, &row("Secret/slow"), "12 of 12").await;

    // A controller that has gone is no news of an hour ago.
    agent.kill9();
    says(&mut browser, VERDICT, "cannot tell: ").await;
    Ok(())
}

/// A thousand clusters are drawn while a person waits, and are found.
#[tokio::test]
async fn the_page_is_of_use_with_a_thousand_clusters() -> Result<()> {
    let management = shared("management").await?;
    let stage = Stage::new(&management, "m-page-many").await?;
    let master = stage.master(&["--cluster-name=many"]).await?;
    let mut browser = Browser::start().await?;
    browser.window([1280, 800], false).await?;
    browser.open(&address(&master).await).await?;
    says(&mut browser, VERDICT, "no source is annotated").await;
    // As a fleet of a thousand answers, from now on whatever is asked.
    let clusters: Vec<Value> = (0..1000)
        .map(|n| {
            let (ready, reason) = if n % 100 == 7 { (false, "Unreachable") } else { (true, "Connected") };
            json!({
                "name": format!("cluster-{n:04}"), "suspend": false, "ready": ready, "reason": reason,
                "message": if ready { "connected" } else { "cannot connect: refused; check the address" },
                "since": "2026-01-01T00:00:00Z", "version": "v1.33.1",
                "sources": {"synced": 10, "pending": 0, "refused": 0},
                "agent": {"state": "Reporting", "namespaces": 300, "pending": 0, "refused": 0},
            })
        })
        .collect();
    let lost: Vec<_> =
        (0..10).map(|n| json!({"cluster": format!("cluster-0{n}07"), "reason": "Unreachable"})).collect();
    let sources: Vec<_> = (0..10)
        .map(|n| json!({"source": format!("Secret/s-{n}"), "resourceVersion": "7", "clusters": 1000, "missing": lost}))
        .collect();
    let status = json!({
        "controller": "master", "version": "0.1.0", "cluster": "many", "sourceNamespace": "operator", "leads": true,
        "missing": [], "well": false, "sources": sources, "clusters": clusters,
    });
    let script = format!(
        "fetch = async () => new Response({}); again = () => {{}}; (() => {{ const began = performance.now(); seen = {status}; \
         draw(); document.body.offsetHeight; return performance.now() - began; }})()",
        Value::String(status.to_string())
    );
    let took = browser.eval(&script).await?;
    assert!(took.as_f64() < Some(5000.0), "{took} ms to draw");
    says(&mut browser, VERDICT, "10 sources are not in place, 10 clusters are not ready").await;
    assert_eq!(browser.eval("document.querySelectorAll('#clusters button').length").await?, 1000);
    picture(&mut browser, "thousand").await?;
    browser.eval("document.getElementById('clusters-open').click()").await?;
    assert_eq!(browser.eval("document.querySelectorAll('#clusters button').length").await?, 10);
    // What is said if a standby is asked while nobody leads comes first.
    browser.eval("seen.trouble = 'no master leads: look'; draw()").await?;
    let verdict = browser.eval(VERDICT).await?;
    assert_eq!(verdict, "no master leads: look, 10 sources are not in place, 10 clusters are not ready");
    Ok(())
}
