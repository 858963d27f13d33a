package guest

import "testing"

// Whatever does not look at the bytes of a ring is the same on packed ones.
func TestOnPackedRings(t *testing.T) {
	packedRings = true
	defer func() { packedRings = false }()
	for name, test := range map[string]func(*testing.T){
		"AnnouncementIsReceived":                  TestAnnouncementIsReceived,
		"AnnouncementAndChanges":                  TestAnnouncementAndChanges,
		"AnnouncementIsLostWithItsGuest":          TestAnnouncementIsLostWithItsGuest,
		"RecoverDropsAnAnnouncement":              TestRecoverDropsAnAnnouncement,
		"GuestSendsFramesInEveryLayout":           TestGuestSendsFramesInEveryLayout,
		"GuestSendsLegacyHeader":                  TestGuestSendsLegacyHeader,
		"GuestSendsWhatIsDropped":                 TestGuestSendsWhatIsDropped,
		"DisabledGuestRingsAreConsumedAndStarved": TestDisabledGuestRingsAreConsumedAndStarved,
		"MergeableFrameSpansBuffers":              TestMergeableFrameSpansBuffers,
		"FrameWaitsForRoomAndConsumesNothing":     TestFrameWaitsForRoomAndConsumesNothing,
		"FrameThatNeverFitsIsDropped":             TestFrameThatNeverFitsIsDropped,
		"BellFollowsUsedEvent":                    TestBellFollowsUsedEvent,
		"BadBuffersComeBack":                      TestBadBuffersComeBack,
		"InstallWaitsForTheForwarder":             TestInstallWaitsForTheForwarder,
		"GuestBurstsDoNotAllocate":                TestGuestBurstsDoNotAllocate,
		"HonestHeadersAreRead":                    TestHonestHeadersAreRead,
		"GuestCannotChangeCheckedHeaders":         TestGuestCannotChangeCheckedHeaders,
		"LyingHeadersAreDropped":                  TestLyingHeadersAreDropped,
		"HarmlessHeadersAreReduced":               TestHarmlessHeadersAreReduced,
		"WaitingFrameGoesOnWhereItWas":            TestWaitingFrameGoesOnWhereItWas,
		"OffloadsDoNotAllocate":                   TestOffloadsDoNotAllocate,
		"ChainsGoBackInOrder":                     TestChainsGoBackInOrder,
		"AbandonedChainsGoBackInOrder":            TestAbandonedChainsGoBackInOrder,
		"RecoverTakesBackWhatWasBegun":            TestRecoverTakesBackWhatWasBegun,
		"RecoverGivesHeldFramesBack":              TestRecoverGivesHeldFramesBack,
		"FilteredBurst":                           TestFilteredBurst,
		"Owns":                                    TestOwns,
		"MTULimitsFramesToTheGuest":               TestMTULimitsFramesToTheGuest,
		"MemoryVanishesBeforeSync":                TestMemoryVanishesBeforeSync,
		"NotifyOncePerRound":                      TestNotifyOncePerRound,
		"NothingIsTakenOverAfterLeave":            TestNothingIsTakenOverAfterLeave,
	} {
		t.Run(name, test)
	}
}
