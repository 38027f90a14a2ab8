package capability

// StepName names one step of a switch, in progress output, in the ledger and in
// crash tests.
type StepName string

// The steps of a switch of the owner, in order.
const (
	StepPreflight StepName = "preflight"
	StepAnnounce  StepName = "announce"
	StepBorder    StepName = "border"
	StepYield     StepName = "yield"
	StepHold      StepName = "hold"
	StepClose     StepName = "close"
	StepDrain     StepName = "drain"
	StepVerify    StepName = "verify"
	StepSequences StepName = "sequences"
	StepSeal      StepName = "seal"
	StepOpen      StepName = "open"
	StepPublish   StepName = "publish"
	StepTidy      StepName = "tidy"
)

// Step is one row of the plan: what it does, and what takes it back. Do and
// Undo are sentences with {from} and {to}; the controller binds them to code by
// name.
type Step struct {
	Name StepName
	Do   string
	Undo string // empty: nothing to take back
	// Commit marks the point of no return: this step decides, the steps after it
	// only roll forward.
	Commit bool
	// Gap marks the steps during which writes wait.
	Gap bool
}

// SwitchPlan moves the owner of a capability's writes from one side to the
// other. Cutover and rollback are this one list with the sides swapped; dry
// run, progress, recovery, documentation and crash tests all walk it.
var SwitchPlan = []Step{
	{Name: StepPreflight, Do: "check lag, verification, both streams, border, transactions and proxies"},
	{Name: StepAnnounce, Do: "ask the webhooks of the document", Undo: "tell them that {from} still owns"},
	{Name: StepBorder, Do: "for a cutover, drop the foreign keys that cross the border, in a bounded transaction", Undo: "add them again and validate them"},
	{Name: StepYield, Do: "let running vacuums of {from}'s tables give way, without blocking a writer"},
	{Name: StepHold, Do: "hold writes at every proxy and wait for those in flight", Undo: "release the held writes to {from}", Gap: true},
	{Name: StepClose, Do: "close {from}'s gate with a marker in its change stream", Undo: "open {from}'s gate", Gap: true},
	{Name: StepDrain, Do: "wait until {to} has applied the marker", Gap: true},
	{Name: StepVerify, Do: "compare the rows that changed since the last verification", Gap: true},
	{Name: StepSequences, Do: "carry the sequences over to {to}, with their gap", Gap: true},
	{Name: StepSeal, Do: "seal {from}'s gate: the commit point", Commit: true, Gap: true},
	{Name: StepOpen, Do: "open {to}'s gate", Gap: true},
	{Name: StepPublish, Do: "publish {to} as the owner and release the held writes to it", Gap: true},
	{Name: StepTidy, Do: "disable {to}'s guards; after a rollback, restore the border"},
}
