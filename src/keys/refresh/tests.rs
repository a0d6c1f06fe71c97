use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::signer::Signer;

fn refresher(place: &str, every: u64) -> Refresher {
    let fetcher = Fetcher::new(true, None).expect("a client");
    Refresher {
        issuer: "x".into(),
        index: 0,
        place: Place::Url(fetcher.url(place).expect("a URL")),
        fetcher,
        allowed: Vec::new(),
        every: Duration::from_secs(every),
        max_stale: Duration::from_secs(3600),
    }
}

/// Gives these answers, one to each request; gives back the requests.
async fn serve(listener: TcpListener, answers: &[String]) -> Vec<String> {
    let mut asked = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.expect("a request") > 0);
        }
        stream.write_all(answer.as_bytes()).await.expect("written");
        asked.push(String::from_utf8_lossy(&head).to_ascii_lowercase());
    }
    asked
}

#[test]
fn an_issuer_is_asked_as_it_says_within_bounds() {
    let kept = |every, age: Option<u64>| refresher("http://x/", every).kept(age.map(Duration::from_secs)).as_secs();
    for (every, said, kept_for) in
        [(300, None, 300), (300, Some(60), 60), (300, Some(1), 30), (300, Some(3600), 300), (10, Some(1), 10)]
    {
        assert_eq!(kept(every, said), kept_for, "{every} {said:?}");
    }
}

#[tokio::test]
async fn a_version_is_shown_only_where_it_was_given_and_what_is_confirmed_may_be_kept_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let set = serde_json::json!({"keys": [Signer::new("k", "EdDSA").jwk()]}).to_string();
    let new = |age: u64| {
        let length = set.len();
        format!(
            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nCache-Control: max-age={age}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{set}"
        )
    };
    let same = "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=90\r\nConnection: close\r\n\r\n".to_owned();
    let answers = [new(60), same, new(70)];
    let fetch = async {
        let mut memory = Memory::default();
        let (one, other) = (refresher(&format!("{base}/one"), 300), refresher(&format!("{base}/other"), 300));
        let mut fetch = async |refresher: &Refresher| refresher.fetch(&mut memory).await.expect("an answer");
        assert!(matches!(fetch(&one).await, (News::Keys(_), Some(age)) if age.as_secs() == 60));
        assert!(matches!(fetch(&one).await, (News::Same, Some(age)) if age.as_secs() == 90));
        assert!(matches!(fetch(&other).await, (News::Keys(_), Some(age)) if age.as_secs() == 70));
    };
    let (asked, ()) = tokio::join!(serve(listener, &answers), fetch);
    let versions: Vec<bool> = asked.iter().map(|head| head.contains("if-none-match: \"1\"\r\n")).collect();
    assert_eq!(versions, [false, true, false]);
}
