//! Defaults, TOML, faults, resuming.

use super::*;

pub(crate) fn config(freeze: Freeze) -> TrainConfig {
    TrainConfig {
        pretrained: Some("weights/net.pth".into()),
        workers: 2,
        threads: 2,
        ..TrainConfig::defaults("mobilenet-v2".into(), 224, "photos/mine".into(), freeze)
    }
}

#[test]
fn defaults_are_valid_and_survive_toml() {
    for freeze in ["none", "backbone", "stage3", "blocks.4.add"] {
        let freeze = freeze.parse().unwrap();
        let config = config(freeze);
        config.check().unwrap();
        let table: Table = config.to_toml().unwrap().parse().unwrap();
        assert_eq!(TrainConfig::from_table(table).unwrap(), config);
    }
}

#[test]
fn what_a_file_does_not_say_has_its_default() {
    let read = |text: &str| TrainConfig::from_table(text.parse().unwrap());
    let common = "network = 'resnet50'\ndata = 'photos'\n";
    let scratch = read(&format!("{common}[full]\nlr = 1\nschedule = 'plateau'")).unwrap();
    let mut expected = TrainConfig::defaults("resnet50".into(), 224, "photos".into(), Freeze::None);
    expected.full.stage.rate.lr = 1.0;
    expected.full.stage.rate.schedule = crate::schedule::Shape::Plateau;
    assert_eq!(scratch, expected);
    let frozen = read(&format!("{common}pretrained = 'x.pth'")).unwrap();
    assert_eq!(frozen.full, FullConfig::fine_tune());
    assert!(frozen.frozen_head().is_some());
    for (fault, named) in [
        (
            "[full]\nlr = 'fast'",
            "full.lr: invalid type: string \"fast\", expected a number",
        ),
        ("[full]\nbatch = 1.5", "expected a whole number"),
        ("full = 3", "expected a table"),
        ("se = 'tail'", "tail"),
        ("[full]\nlearning_rate = 1", "learning_rate"),
        ("[head]\nbalance = 'perhaps'", "perhaps"),
        ("[augment]\ncolour = 1", "colour"),
        ("wieght_decay = 1", "wieght_decay"),
        ("freeze = 'all'", "freeze"),
        ("freeze = 'backbone'", "pretrained"),
        ("freeze = 'stage1'", "pretrained"),
    ] {
        let error = format!("{:#}", read(&format!("{common}{fault}")).unwrap_err());
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
    }
    assert!(
        read("data = 'photos'")
            .unwrap_err()
            .to_string()
            .contains("network")
    );
}

#[test]
fn the_recipes_are_settings() {
    let mut table: Table = include_str!("../../recipes/contest.toml").parse().unwrap();
    table.insert("data".into(), "photos".into());
    let config = TrainConfig::from_table(table).unwrap();
    assert_eq!(config.full.stage.optimizer, Optimizer::Nadam);
    assert_eq!(config.network, "se-resnet50-head");
}

#[test]
fn every_setting_of_a_table_has_an_option() {
    let table = Table::try_from(config(Freeze::Backbone)).unwrap();
    let mut keys: Vec<String> = table
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_table()?)))
        .flat_map(|(name, inner)| inner.keys().map(move |key| format!("{name}.{key}")))
        .collect();
    let mut options: Vec<&str> = settings::SETTINGS.iter().map(|(key, _)| *key).collect();
    keys.sort();
    options.sort();
    assert_eq!(keys, options);
}

#[track_caller]
fn check_fault(change: impl FnOnce(&mut TrainConfig), expect: &str) {
    let mut config = config(Freeze::Backbone);
    change(&mut config);
    let error = config.check().unwrap_err().to_string();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn numbers_without_sense_are_named() {
    check_fault(|c| c.full.stage.batch = 0, "full.batch");
    check_fault(|c| c.full.stage.rate.lr = f64::NAN, "full.lr");
    check_fault(|c| c.full.stage.label_smoothing = 1.0, "label_smoothing");
    check_fault(|c| c.full.shards = 0, "shards");
    check_fault(|c| c.head.stage.rate.cycles = 0, "head.cycles");
    check_fault(|c| c.full.stage.ema = 1.0, "full.ema");
    check_fault(|c| c.val_fraction = 1.0, "val_fraction");
    check_fault(|c| c.augment.min_area = 0.0, "min_area");
    check_fault(|c| c.threads = 0, "threads");
    check_fault(|c| c.keep_last = 0, "keep_last");
    check_fault(|c| c.full.stage_decay = 1.5, "stage_decay");
}

#[test]
fn a_run_is_resumed_with_other_threads_but_not_with_another_seed() {
    let begun = config(Freeze::None);
    let faster = TrainConfig {
        threads: 8,
        data: "elsewhere".into(),
        ..config(Freeze::None)
    };
    begun.check_resumable(&faster).unwrap();
    let other = TrainConfig {
        seed: 2,
        ..config(Freeze::None)
    };
    let error = begun.check_resumable(&other).unwrap_err().to_string();
    assert!(
        error.contains("seed = 1") && error.contains("seed = 2"),
        "{error}"
    );
}

#[test]
fn what_is_handed_on_names_no_folders() {
    let text = config(Freeze::None).without_folders().to_toml().unwrap();
    assert!(
        text.contains("\"mine\"") && text.contains("\"net.pth\""),
        "{text}"
    );
    assert!(
        !text.contains("photos/") && !text.contains("weights/"),
        "{text}"
    );
}
