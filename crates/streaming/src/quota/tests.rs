//! The arithmetic of reservations, and of walks that put them right.

use std::time::Duration;

use super::*;

/// Whether so many bytes are left, of what file whatever.
fn left(quota: &Quota, bytes: u64) -> Result<(), Exceeded> {
    quota.left(&quota.counts(), bytes)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(1)
}

#[tokio::test]
async fn what_is_kept_and_what_is_reserved_count_together() {
    let quota = Quota::new(100, 10, 20);
    let (one, other) = (quota.reserve(), quota.reserve());
    one.grow(40, 0, soon()).await.unwrap();
    other.grow(30, 0, soon()).await.unwrap();
    assert_eq!(quota.used(), 100, "to the byte");
    assert_eq!(quota.fits(1), Err(Exceeded { limit: 100, left: 0 }));
    one.publish(|| Ok::<_, ()>(())).unwrap();
    assert_eq!(quota.used(), 100, "what is published still counts");
    let ((), other) = other.publish(|| Err(())).unwrap_err();
    assert_eq!(quota.used(), 100, "so does what could not be");
    drop(other);
    assert_eq!(quota.used(), 70);
    quota.remove(50, || Err(())).unwrap_err();
    assert_eq!(quota.used(), 70, "and what could not be removed");
    quota.remove(50, || Ok::<_, ()>(())).unwrap();
    quota.release_left(20);
    assert_eq!(quota.used(), 0);
    quota.remove(1, || Ok::<_, ()>(())).unwrap();
    assert_eq!(quota.used(), 0, "no more is given back than there was");
    let stays = quota.reserve();
    stays.grow(5, 0, soon()).await.unwrap();
    stays.give_up();
    stays.leave();
    assert_eq!((quota.used(), left(&quota, 95)), (5, Ok(())));
}

#[tokio::test]
async fn a_walk_puts_right_what_others_did_and_nothing_else() {
    let quota = Quota::new(1000, 100, 7);
    quota.counted(quota.begin(), 60);
    assert_eq!(quota.used(), 67, "others have removed 40");
    quota.counted(quota.begin(), 90);
    assert_eq!(quota.used(), 97, "and added 30; what is staged is no content");
    // What moves during a walk, or all through it, it may have seen or not.
    let staged = quota.reserve();
    staged.grow(10, 0, soon()).await.unwrap();
    for seen in [90, 100] {
        let begun = quota.begin();
        let one = quota.reserve();
        one.grow(10, 0, soon()).await.unwrap();
        one.publish(|| Ok::<_, ()>(())).unwrap();
        quota.counted(begun, seen);
        assert_eq!(quota.used(), 117);
        quota.remove(10, || Ok::<_, ()>(())).unwrap();
        quota
            .remove(20, || {
                for seen in [90, 70] {
                    quota.counted(quota.begin(), seen);
                }
                Ok::<_, ()>(())
            })
            .unwrap();
        assert_eq!(quota.used(), 87);
        let one = quota.reserve();
        one.grow(20, 0, soon()).await.unwrap();
        one.publish(|| Ok::<_, ()>(())).unwrap();
    }
    // What that can't explain is put right all the same.
    let begun = quota.begin();
    quota.remove(10, || Ok::<_, ()>(())).unwrap();
    quota.counted(begun, 50);
    assert_eq!(quota.used(), 60 + 7 + 10);
    assert_eq!(quota.counts().moving, 0);
    // What could not be removed did not move, whenever the walk began.
    for seen in [60, 70] {
        let before = quota.begin();
        let mut during = None;
        quota
            .remove(10, || {
                during = Some(quota.begin());
                Err(())
            })
            .unwrap_err();
        for begun in [Some(before), during].into_iter().flatten() {
            quota.counted(begun, seen);
            assert_eq!(quota.used(), seen + 7 + 10);
        }
    }
}

#[tokio::test]
async fn one_byte_too_many_is_refused_and_so_is_one_that_is_still_to_come() {
    let quota = Quota::new(100, 0, 0);
    let one = quota.reserve();
    one.grow(60, 40, soon()).await.unwrap();
    assert_eq!(quota.used(), 60, "what is announced takes nothing");
    for (bytes, rest) in [(41, 0), (1, 40), (u64::MAX, u64::MAX)] {
        let other = quota.reserve();
        let refused = other.grow(bytes, rest, soon()).await;
        assert_eq!(refused, Err(Exceeded { limit: 100, left: 40 }));
    }
    assert_eq!(quota.used(), 60, "a refusal takes nothing");
    assert_eq!(left(&Quota::new(10, 20, 0), 0), Ok(()), "of a quota that is passed, nothing fits");
    assert!(left(&Quota::new(10, 20, 0), 1).is_err());
}

#[test]
fn a_file_that_fits_does_so_with_its_overhead() {
    let quota = Quota::new(FILE_OVERHEAD + 100, 0, 0);
    assert_eq!(quota.fits(100), Ok(()));
    quota.fits(101).unwrap_err();
    quota.fits(u64::MAX).unwrap_err();
    Quota::new(FILE_OVERHEAD - 1, 0, 0).fits(0).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_makes_room_and_the_other_waits_for_it() {
    let quota = Quota::new(100, 0, 0);
    let (one, other) = (quota.reserve(), quota.reserve());
    one.grow(50, 0, soon()).await.unwrap();
    other.grow(50, 0, soon()).await.unwrap();
    one.grow(1, 0, soon()).await.unwrap_err();
    // Its file is still there: at no moment is there more than the quota.
    assert_eq!(quota.used(), 100);
    {
        let mut growing = std::pin::pin!(other.grow(50, 0, soon()));
        let early = tokio::time::timeout(Duration::from_millis(500), &mut growing).await;
        early.unwrap_err();
        drop(one);
        growing.await.unwrap();
    }
    assert_eq!(quota.used(), 100);
    drop(other);
    assert_eq!(quota.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_and_does_not_go_is_not_waited_for_without_end() {
    let quota = Quota::new(100, 0, 0);
    let (one, other) = (quota.reserve(), quota.reserve());
    one.grow(60, 0, soon()).await.unwrap();
    one.give_up();
    one.give_up();
    other.grow(60, 0, soon()).await.unwrap_err();
    drop((one, other));
    assert_eq!(quota.used(), 0);
    assert_eq!(left(&quota, 100), Ok(()), "given up once, however often it is said");
}
