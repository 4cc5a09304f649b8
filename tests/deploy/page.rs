//! The status page in a real browser: what it shows, how it looks, that everybody can use it, and that it follows.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use lethe_test_support::broker::{Broker, Version};
use lethe_test_support::bus::{Bus, Put};
use lethe_test_support::event::{Message, profile_updated};
use lethe_test_support::http;
use lethe_test_support::lethe::{Lethe, Setup};
use lethe_test_support::process;
use lethe_test_support::wait::eventually;
use serde_json::{Value, json};

use crate::browser::{self, Scheme};
use crate::tools;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lethe");
const KEPT: &str = "Every promise is kept";
/// A user and a conversation, which no page may name.
const USER: &str = "ada-lovelace";
const CONVERSATION: &str = "ada-and-charles";
/// Files of a wheel that carries axe-core.
const AXE: &str = "python/axe_playwright_python/axe.min.js";
/// What axe looks for: the guidelines up to WCAG 2.2 AA, and best practice.
const RULES: &str = r#"["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]"#;

#[test]
fn a_person_sees_at_a_glance_whether_every_promise_is_kept() {
    let bus = Bus::new(Broker::shared(Version::V4), "deploy.page", 2);
    let lethe = lethe_with_something_to_show(&bus);
    let url = format!("http://{}/", lethe.address());
    let dir = process::directory("page");

    let (page, console) = browser::elements(&url, Scheme::Light);
    assert_eq!(console, "", "the browser has something to say");
    assert!(page.contains("class=\"script\""), "its script ran:\n{page}");
    for shown in [
        KEPT,
        "flowing",
        "trusted",
        "6 of 6 ready",
        "hold/case-7",
        "tenant in, one user",
        "erasure/req-9",
        "carried out in message",
        "delivered",
        "Throughput. In the last 10 minutes.",
    ] {
        assert!(page.contains(shown), "{shown} is not on the page:\n{page}");
    }
    for secret in [USER, CONVERSATION] {
        assert!(!page.contains(secret), "{secret} is on the page:\n{page}");
    }

    for (name, scheme, size) in [
        ("light", Scheme::Light, (1280, 1400)),
        ("dark", Scheme::Dark, (1280, 1400)),
        ("phone", Scheme::Light, (360, 3000)),
    ] {
        let file = dir.join(format!("{name}.png"));
        assert_eq!(browser::picture(&url, scheme, size, &file), size, "{name}");
    }
    for scheme in [Scheme::Light, Scheme::Dark] {
        for width in [360, 1280] {
            nobody_is_shut_out(&dir, &snapshot(&lethe), scheme, width);
        }
    }
    it_follows(&lethe);
}

fn lethe_with_something_to_show(bus: &Bus<'_>) -> Lethe {
    bus.control("tenant/in", &json!({"message": {"storage": "in"}, "profile": {"storage": "in"}}));
    bus.control("hold/case-7", &json!({"tenant": "in", "user": USER}));
    let retention = json!({"retention": "1d"});
    bus.control(&format!("conversation/in/{CONVERSATION}"), &retention);
    bus.control("erasure/req-9", &json!({"tenant": "out"}));
    let lethe = Setup::new(PROGRAM, bus, "page").run();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let now_ms = i64::try_from(now_ms).expect("before 9999");
    for number in 0..20 {
        let tenant = ["in", "out"][number % 2];
        let message = Message::new(tenant, CONVERSATION, &format!("m{number}"), now_ms);
        let (sent, delivered) = (message.sent(b"content"), message.delivered(USER));
        bus.put_all("im.messages", [put(&sent), put(&delivered)]);
    }
    let profile = profile_updated("in", USER, now_ms, b"content");
    bus.put("im.profiles", put(&profile));
    eventually("ten messages were delivered", || {
        let ended = lethe.metric("lethe_tombstones_total", &[("reason", "delivered")]);
        if ended == Some(10.0) { Ok(()) } else { Err(format!("{ended:?}")) }
    });
    // The page looks at the control topic and at the partitions' figures from time to time.
    eventually("everything is on the page", || {
        // A slash is escaped where it is put in.
        let page = snapshot(&lethe).replace("&#x2f;", "/");
        let shown =
            [KEPT, "hold/case-7", "tenant in, one user", "erasure/req-9", "carried out in message"];
        let missing: Vec<_> = shown.into_iter().filter(|text| !page.contains(text)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}\n{page}")) }
    });
    lethe
}

fn put(value: &[u8]) -> Put<'_> {
    Put { partition: 0, key: "c", value: Some(value), headers: &[] }
}

fn snapshot(lethe: &Lethe) -> String {
    lethe.get("/").expect("the page").1
}

/// axe-core finds nothing, and nothing is wider than the screen.
fn nobody_is_shut_out(dir: &Path, page: &str, scheme: Scheme, width: u32) {
    let axe = tools::directory().join(AXE);
    fs::copy(&axe, dir.join("axe.js"))
        .unwrap_or_else(|error| panic!("{}: {error}; scripts/prerequisites test", axe.display()));
    let check = format!(
        r#"<script src="axe.js"></script><script>
        axe.run(document, {{ runOnly: {RULES} }}).then(({{ violations, passes }}) => {{
            const text = document.documentElement;
            const said = {{ violations, passes: passes.length, width: text.scrollWidth }};
            parent.postMessage(JSON.stringify(said), "*");
        }});</script></body>"#
    );
    fs::write(dir.join("page.html"), page.replace("</body>", &check)).expect("a page");
    let frame = format!(
        r#"<pre id="said"></pre><script>addEventListener("message", (event) => {{
        document.getElementById("said").textContent = event.data; }});</script>
        <iframe src="page.html" style="width: {width}px; height: 900px; border: 0"></iframe>"#
    );
    let file = dir.join("frame.html");
    fs::write(&file, frame).expect("a page");
    let (page, console) = browser::elements(&format!("file://{}", file.display()), scheme);
    let said = page.split("<pre id=\"said\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let said = said.unwrap_or_default().replace("&lt;", "<").replace("&gt;", ">");
    let said: Value = serde_json::from_str(&said.replace("&amp;", "&"))
        .unwrap_or_else(|error| panic!("{error}: {said}\n{console}"));
    let found = serde_json::to_string_pretty(&said["violations"]).unwrap_or_default();
    assert_eq!(said["violations"], json!([]), "{scheme:?}, {width}: {found}");
    assert!(said["passes"].as_u64() > Some(30), "axe has looked at the page: {said}");
    let widest = said["width"].as_u64();
    assert!(widest.is_some_and(|widest| widest <= u64::from(width)), "{width}: {widest:?}");
}

/// The page changes as the answers do, and says so when none comes.
fn it_follows(lethe: &Lethe) {
    const ANSWERS: usize = 3;
    let answer = http::request("GET", &lethe.address(), "/", &[], "").expect("the page");
    let policy = answer.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for number in 1.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.read(&mut [0; 4096]);
            let page = answer.body.replace(KEPT, &format!("Answer {number}"));
            let status = if number > ANSWERS { "503 Away" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\n\
                 content-security-policy: {policy}\r\nconnection: close\r\n"
            );
            let _ = write!(stream, "{head}content-length: {}\r\n\r\n{page}", page.len());
        }
    });
    let (page, _) = browser::elements(&format!("http://{address}/"), Scheme::Light);
    let headline = format!("aria-live=\"polite\">Answer {ANSWERS}</h1>");
    assert!(page.contains(&headline), "{page}");
    assert!(page.contains("lethe does not answer. What is shown is as of "), "{page}");
}
