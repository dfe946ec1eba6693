package journal

const childEnv = "TAPEWIRE_JOURNAL_CHILD"

func childMain() {}
