use models::labels::{MAX_ITEMS, MAX_NAME_BYTES, NameFault, builtin_names};
use models::{LabelError, LabelSet};
use proptest::prelude::*;

fn pairs(items: &[(&str, &str)]) -> Vec<(String, String)> {
    items
        .iter()
        .map(|(category, item)| (category.to_string(), item.to_string()))
        .collect()
}

#[test]
fn huawei_40_has_the_contests_ids() {
    let set = LabelSet::builtin("huawei-40").unwrap();
    assert_eq!(set.name(), "huawei-40");
    assert_eq!(set.len(), 40);
    assert_eq!(
        set.categories(),
        ["其他垃圾", "厨余垃圾", "可回收物", "有害垃圾"]
    );
    for (id, path) in [
        (0, "其他垃圾/一次性快餐盒"),
        (5, "其他垃圾/竹筷"),
        (6, "厨余垃圾/剩饭剩菜"),
        (13, "厨余垃圾/鱼骨"),
        (14, "可回收物/充电宝"),
        (23, "可回收物/易拉罐"),
        (36, "可回收物/饮料瓶"),
        (37, "有害垃圾/干电池"),
        (39, "有害垃圾/过期药物"),
    ] {
        assert_eq!(set.path(id), path);
        assert_eq!(set.find(path), Some(id));
    }
    let per_category = |category| {
        (0..40)
            .filter(|&id| set.category_of(id) == category)
            .count()
    };
    assert_eq!([0, 1, 2, 3].map(per_category), [6, 8, 23, 3]);
}

#[test]
fn every_builtin_set_has_its_own_name() {
    for name in builtin_names() {
        assert_eq!(LabelSet::builtin(name).unwrap().name(), name);
    }
    let error = LabelSet::builtin("imagenet").unwrap_err();
    assert_eq!(error, LabelError::Unknown("imagenet".into()));
    assert_eq!(
        error.to_string(),
        "no label set \"imagenet\" comes with Sortline; there is: huawei-40"
    );
}

#[test]
fn find_wants_the_whole_path() {
    let set = LabelSet::new("s", pairs(&[("a", "x"), ("b", "x")])).unwrap();
    assert_eq!(set.find("b/x"), Some(1));
    for unknown in ["x", "a", "a/", "/x", "a/x/", "a/x/x", "c/x", ""] {
        assert_eq!(set.find(unknown), None, "{unknown}");
    }
}

#[track_caller]
fn check_new(name: &str, items: &[(&str, &str)], expect: LabelError) {
    assert_eq!(LabelSet::new(name, pairs(items)), Err(expect));
}

#[test]
fn bad_sets_are_refused() {
    let bad = |name: &str, fault| LabelError::BadName {
        what: "item 1".into(),
        name: name.into(),
        fault,
    };
    check_new("s", &[], LabelError::Empty);
    check_new(
        "",
        &[("a", "x")],
        LabelError::EmptyName {
            what: "the label set".into(),
        },
    );
    check_new(
        "s",
        &[("a", "")],
        LabelError::EmptyName {
            what: "item 0".into(),
        },
    );
    check_new(
        "s",
        &[("", "x")],
        LabelError::EmptyName {
            what: "the category of item 0".into(),
        },
    );
    check_new(
        "s",
        &[("a", "x"), ("a", "x/y")],
        bad("x/y", NameFault::Slash),
    );
    check_new(
        "s",
        &[("a", "x"), ("a", "x\ny")],
        bad("x\ny", NameFault::Control),
    );
    check_new(
        "s",
        &[("a", "x"), ("a", "x ")],
        bad("x ", NameFault::OuterWhitespace),
    );
    check_new(
        "s",
        &[("a", "x"), ("b", "x"), ("a", "x")],
        LabelError::DuplicateItem {
            first: 0,
            second: 2,
            path: "a/x".into(),
        },
    );
    let long = "长".repeat(MAX_NAME_BYTES / 3 + 1);
    let bytes = long.len();
    check_new(
        "s",
        &[("a", &long)],
        LabelError::LongName {
            what: "item 0".into(),
            bytes,
        },
    );
    let many: Vec<_> = (0..=MAX_ITEMS)
        .map(|id| ("a".into(), id.to_string()))
        .collect();
    assert_eq!(
        LabelSet::new("s", many),
        Err(LabelError::TooManyItems(MAX_ITEMS + 1))
    );
}

#[track_caller]
fn check_toml(text: &str, expect: Result<&[&str], LabelError>) {
    let paths = LabelSet::from_toml(text)
        .map(|set| (0..set.len()).map(|id| set.path(id)).collect::<Vec<_>>());
    assert_eq!(
        paths,
        expect.map(|paths| paths.iter().map(|path| path.to_string()).collect())
    );
}

#[test]
fn toml_ids_come_in_any_order_but_without_a_gap() {
    let file = |ids: [u32; 3]| {
        let [a, b, c] = ids;
        format!(
            "name = \"s\"\nitems = [\n{{ id = {a}, category = \"k\", item = \"a\" }},\n\
             {{ id = {b}, category = \"k\", item = \"b\" }},\n\
             {{ id = {c}, category = \"l\", item = \"c\" }}]"
        )
    };
    check_toml(&file([0, 1, 2]), Ok(&["k/a", "k/b", "l/c"]));
    check_toml(&file([2, 0, 1]), Ok(&["k/b", "l/c", "k/a"]));
    check_toml(&file([1, 2, 3]), Err(LabelError::MissingId { missing: 0 }));
    check_toml(&file([0, 1, 3]), Err(LabelError::MissingId { missing: 2 }));
    check_toml(&file([0, 1, 1]), Err(LabelError::DuplicateId(1)));
    check_toml("name = \"s\"\nitems = []", Err(LabelError::Empty));
}

#[test]
fn toml_faults_name_the_line() {
    for (text, expect) in [
        (
            "name = \"s\"\nitems = [{ id = 0, category = \"k\" }]",
            "line 2: missing field `item`",
        ),
        (
            "name = \"s\"\nitem = 3\nitems = []",
            "line 2: unknown field `item`",
        ),
        (
            "name = \"s\"\n\nitems = [{ id = -1, category = \"k\", item = \"a\" }]",
            "line 3: ",
        ),
        ("name = \"s", "line 1: "),
        ("", "missing field `name`"),
    ] {
        match LabelSet::from_toml(text) {
            Err(LabelError::Toml(message)) => {
                assert!(message.contains(expect), "{message:?} lacks {expect:?}");
                assert!(!message.contains('\n'), "{message:?}");
            }
            other => panic!("{other:?} for {text:?}"),
        }
    }
}

#[test]
fn deserialization_checks_the_rules() {
    let bytes = postcard::to_stdvec(&("s", vec![("a", "x"), ("a", "x")])).unwrap();
    assert!(postcard::from_bytes::<LabelSet>(&bytes).is_err());
    let bytes = postcard::to_stdvec(&("s", vec![("a", "x"), ("b", "x")])).unwrap();
    let set: LabelSet = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(
        set,
        LabelSet::new("s", pairs(&[("a", "x"), ("b", "x")])).unwrap()
    );
}

proptest! {
    #[test]
    fn a_set_survives_serialization(
        items in prop::collection::btree_set(("[a-c]", "[a-z\u{4e00}-\u{4eff}]{1,4}"), 1..20)
    ) {
        let items: Vec<(String, String)> = items.into_iter().collect();
        let set = LabelSet::new("s", items.clone()).unwrap();
        let read: LabelSet = postcard::from_bytes(&postcard::to_stdvec(&set).unwrap()).unwrap();
        prop_assert_eq!(&read, &set);
        for (id, (category, item)) in items.iter().enumerate() {
            prop_assert_eq!(set.path(id), format!("{category}/{item}"));
            prop_assert_eq!(set.find(&set.path(id)), Some(id));
        }
    }

    #[test]
    fn any_text_is_a_set_or_an_error(text in ".{0,200}") {
        let _ = LabelSet::from_toml(&text);
    }
}
