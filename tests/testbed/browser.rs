//! A headless Chromium, spoken to by its own debugging protocol over a pipe.

// What a JSON value lacks is null.
#![allow(clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};
use tokio::time::timeout;

use crate::process::Process;
use crate::scratch::Scratch;

/// Names that distributions give it.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
/// For one answer of a browser that shares two cores with clusters.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page. It ends when the value is dropped.
#[derive(Debug)]
pub struct Browser {
    to: Sender,
    from: BufReader<Receiver>,
    process: Process,
    /// Its profile and its pipes.
    _scratch: Scratch,
    page: String,
    calls: u64,
}

impl Browser {
    /// Starts it, with an empty page.
    ///
    /// # Errors
    /// If there is no Chromium on the `PATH`, or it does not start.
    pub async fn start() -> Result<Self> {
        let program = program()?;
        let scratch = Scratch::new()?;
        let [to, from] = ["to", "from"].map(|name| scratch.path().join(name));
        let made = std::process::Command::new("mkfifo").args([&to, &from]).status()?;
        ensure!(made.success(), "cannot make a pipe");
        // A pipe that is open in both directions waits for nobody.
        let (sender, receiver) = (
            OpenOptions::new().read_write(true).open_sender(&to)?,
            OpenOptions::new().read_write(true).open_receiver(&from)?,
        );
        let script = "to=$1 from=$2; shift 2; exec \"$@\" 3<\"$to\" 4>\"$from\"";
        let profile = format!("--user-data-dir={}", scratch.path().join("profile").display());
        let paths = [to.as_os_str(), from.as_os_str(), program.as_os_str()];
        let flags = [
            "--headless=new",
            "--remote-debugging-pipe",
            // It shows only our own pages, and root, which runs tests in containers, has no sandbox.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            &profile,
            "about:blank",
        ];
        let args = ["-c", script, "browser"].map(AsRef::as_ref).into_iter().chain(paths);
        let args = args.chain(flags.map(AsRef::as_ref));
        let process = Process::spawn("/bin/sh".as_ref(), args, [("LANG", "C.UTF-8")])?;
        let (from, page) = (BufReader::new(receiver), String::new());
        let mut browser = Self { to: sender, from, process, _scratch: scratch, page, calls: 0 };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach).await?;
        browser.page = session["sessionId"].as_str().context("no session")?.to_owned();
        Ok(browser)
    }

    /// Goes to an address; what is there may still be loading.
    ///
    /// # Errors
    /// If there is nothing.
    pub async fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await?;
        ensure!(answer["errorText"].is_null(), "{url}: {}", answer["errorText"]);
        Ok(())
    }

    /// The value of a JavaScript expression in the page; of a promise, what it comes to.
    ///
    /// # Errors
    /// If it throws.
    pub async fn eval(&mut self, expression: &str) -> Result<Value> {
        let call = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", call).await?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {:#}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Presses and lets go of a key, e.g. `Tab`, `Enter`.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn press(&mut self, key: &str) -> Result<()> {
        let code = if key == "Enter" { 13 } else { 9 };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// How large the window is, in pixels, and whether its user likes it dark.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn window(&mut self, [width, height]: [u32; 2], dark: bool) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    /// Role and name of all that a screen reader is told of, in its order.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn accessible(&mut self) -> Result<Vec<(String, String)>> {
        let answer = self.call("Accessibility.getFullAXTree", json!({})).await?;
        let nodes = answer["nodes"].as_array().context("no tree")?;
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().trim().to_owned();
        let told = nodes.iter().filter(|node| node["ignored"] != true);
        Ok(told.map(|node| (text(&node["role"]), text(&node["name"]))).collect())
    }

    /// What is to be seen, as a PNG in base64.
    ///
    /// # Errors
    /// If the browser has gone.
    pub async fn screenshot(&mut self) -> Result<String> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        Ok(answer["data"].as_str().context("no picture")?.to_owned())
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if !self.page.is_empty() {
            call["sessionId"] = self.page.as_str().into();
        }
        let answer = async {
            self.to.write_all(format!("{call}\0").as_bytes()).await?;
            loop {
                let mut text = Vec::new();
                self.from.read_until(0, &mut text).await?;
                ensure!(text.pop() == Some(0), "the browser has gone");
                let mut said: Value = serde_json::from_slice(&text)?;
                // Everything else is news that nobody has asked for.
                if said["id"] == self.calls {
                    ensure!(said["error"].is_null(), "{method}: {}", said["error"]);
                    return Ok(said["result"].take());
                }
            }
        };
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => bail!("{method}: no answer\n{}", self.process.log_tail(20)),
        }
    }
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|dir| PROGRAMS.map(|name| dir.join(name)));
    found.into_iter().find(|file| Path::is_file(file)).context(
        "the status page is tested in a real browser, and there is no Chromium on the PATH: install it, e.g. apt-get \
         install chromium",
    )
}
