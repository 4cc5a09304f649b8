//! A directory that belongs to something else is refused, and says to what.

use lethe_state::{Identity, IdentityField, Remedy, StateError, Store};

use crate::support::{home, identity, memory, open};

#[test]
fn another_identity_is_refused() {
    let (_home, dir) = home();
    drop(open(&dir));
    let cases = [
        (Identity { cluster: "c2".to_owned(), ..identity() }, IdentityField::Cluster, "c1", "c2"),
        (
            Identity { topic: "x".to_owned(), ..identity() },
            IdentityField::Topic,
            "im.messages",
            "x",
        ),
        (
            Identity { changelog_id: Some("t2".to_owned()), ..identity() },
            IdentityField::ChangelogId,
            "t1",
            "t2",
        ),
        (Identity { partition: 4, ..identity() }, IdentityField::Partition, "3", "4"),
        (Identity { partitions: 7, ..identity() }, IdentityField::Partitions, "8", "7"),
    ];
    for (other, differs, is, wanted) in cases {
        let error = Store::open(&dir, &other, &memory()).unwrap_err();
        assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
        assert_eq!(error.remedy(), Remedy::Stop);
        let StateError::OtherIdentity { field, found, expected, .. } = error else {
            panic!("{differs:?}: {error}");
        };
        assert_eq!((field, &*found, &*expected), (differs, is, wanted));
    }
    open(&dir);
}

#[test]
fn a_changelog_id_is_learned_once_the_broker_tells_it() {
    let (_home, dir) = home();
    let unknown = Identity { changelog_id: None, ..identity() };
    drop(Store::open(&dir, &unknown, &memory()).unwrap());
    drop(Store::open(&dir, &identity(), &memory()).unwrap());
    drop(Store::open(&dir, &unknown, &memory()).unwrap());
    let other = Identity { changelog_id: Some("t2".to_owned()), ..identity() };
    let error = Store::open(&dir, &other, &memory()).unwrap_err();
    assert!(
        matches!(error, StateError::OtherIdentity { field: IdentityField::ChangelogId, .. }),
        "{error}"
    );
}

#[test]
fn a_greater_number_of_partitions_is_taken_over_and_stays() {
    let (_home, dir) = home();
    drop(open(&dir));
    let wider = Identity { partitions: 9, ..identity() };
    drop(Store::open(&dir, &wider, &memory()).unwrap());
    let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
    assert!(
        matches!(error, StateError::OtherIdentity { field: IdentityField::Partitions, .. }),
        "{error}"
    );
}
