use super::*;
use proptest::prelude::*;

fn labels(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_is_selected() {
    let all = labels(&[("env", "prod"), ("tier", ""), ("n", "5"), ("in", "x"), ("a.b/c_D", "v")]);
    let table = [
        ("env=prod", true),
        ("env==prod", true),
        ("env = prod , n", true),
        ("env=dev", false),
        ("env!=dev", true),
        ("env!=prod", false),
        ("none!=x", true),
        ("none=x", false),
        ("env in (dev,prod)", true),
        ("env in ( dev , prod )", true),
        ("env in(dev)", false),
        ("env notin (dev)", true),
        ("none notin (dev)", true),
        ("env notin (dev,prod)", false),
        ("env", true),
        ("none", false),
        ("!none", true),
        ("! none", true),
        ("!env", false),
        ("tier=", true),
        ("tier=,env", true),
        ("env=", false),
        ("tier in ()", true),
        ("tier in (,)", true),
        ("tier in (a,)", true),
        ("tier in (,a)", true),
        ("env in (a,,prod)", true),
        ("n>4", true),
        ("n > 5", false),
        ("n<6", true),
        ("env>1", false),
        ("none<1", false),
        ("in in (x)", true),
        ("in", true),
        ("env=in", false),
        ("a.b/c_D=v", true),
    ];
    for (selector, selected) in table {
        assert_eq!(Selector::parse(selector).unwrap().matches(&all), selected, "{selector}");
    }
}

#[test]
fn what_an_api_server_refuses() {
    use SelectorError::{Empty, Key, Number, Value};
    for text in ["", " "] {
        assert_eq!(Selector::parse(text), Err(Empty));
    }
    let key = |text: &str| Err(Key(text.to_owned()));
    assert_eq!(Selector::parse("-a=b"), key("-a"));
    assert_eq!(Selector::parse("A.b/c=b"), key("A.b/c"));
    assert_eq!(Selector::parse("a/b/c=b"), key("a/b/c"));
    assert_eq!(Selector::parse(&format!("{}=b", "a".repeat(64))), key(&"a".repeat(64)));
    assert_eq!(Selector::parse("a=b_"), Err(Value("b_".to_owned())));
    assert!(Selector::parse("a in (b c)").unwrap_err().to_string().contains("comma"));
    assert_eq!(Selector::parse("a>b"), Err(Number("b".to_owned())));
    assert_eq!(Selector::parse("a>"), Err(Number(String::new())));
    for text in
        [",", "a,", "a,,b", "a b", "a=b c", "!a=b", "!", "a in b", "a in (b", "a in b)", "(a)", "a=(b)", "=b", "a=!b"]
    {
        let error = Selector::parse(text).unwrap_err();
        assert!(matches!(error, SelectorError::Expected { .. }), "{text}: {error:?}");
    }
    assert_eq!(
        Selector::parse("a b").unwrap_err().to_string(),
        "after \"a b\" should come an operator: =, !=, in, notin, < or >"
    );
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,60}") {
        let _ = Selector::parse(&text);
    }

    #[test]
    fn grammar_like_text_never_panics_and_reads_back(text in "[a-c!=,()<> 0-9]{0,24}|[ab]( in | notin |=|!=|>|<)(\\(a,b\\)|1|a|)(,!?[ab])?") {
        if let Ok(selector) = Selector::parse(&text) {
            let again = Selector::parse(&selector.to_string());
            prop_assert_eq!(again, Ok(selector));
        }
    }
}
