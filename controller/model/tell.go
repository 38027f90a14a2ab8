package model

import "fmt"

// tell says in a sentence what has happened.
func (m *Model) tell(l label, before, after *state, n naming) string {
	who := n.controller(l.who % 2)
	at := side(l.a % 2)
	switch l.verb {
	case takesLead:
		if l.a == 1 {
			return fmt.Sprintf("controller %s takes the lead, because the lease of %s has run out by the clock; %s does not know it yet.", who, n.controller(1-l.who), n.controller(1-l.who))
		}
		return fmt.Sprintf("controller %s takes the lead and reads the stored state: %s.", who, after.ctl[l.who].cached)
	case dies:
		return fmt.Sprintf("controller %s is killed.", who)
	case learns:
		return fmt.Sprintf("controller %s learns that it does not lead any more.", who)
	case connects:
		if l.b == 1 {
			return fmt.Sprintf("controller %s is not let into %s: another one leads since.", who, at)
		}
		if before.leader == l.who+1 && before.ctl[1-l.who].at != out && m.keeps(RuleFences) {
			return fmt.Sprintf("controller %s reaches %s, and ends the sessions of %s there.", who, at, n.controller(1-l.who))
		}
		return fmt.Sprintf("controller %s reaches %s.", who, at)
	case hears:
		return fmt.Sprintf("controller %s finds that somebody else has stored a state: %s.", who, after.store)
	case looks:
		return fmt.Sprintf("controller %s looks: it reads legacy's gate, %s.", who, before.gate(legacy))
	case sees:
		return m.tellLook(l, before, after, who)
	case beginsSwitch:
		return fmt.Sprintf("controller %s begins to make %s the owner.", who, at)
	case sends:
		return fmt.Sprintf("controller %s %s %s", who, statementWords(before.ctl[l.who].want), howWords(l.b, before.ctl[l.who].want))
	case publishes:
		return fmt.Sprintf("controller %s %s", who, publishWords(l, before, after))
	case asks:
		proxy := n.proxyNamed(l.a)
		return []string{
			fmt.Sprintf("proxy %s tells controller %s that it holds, and has no write in flight.", proxy, who),
			fmt.Sprintf("the registration of proxy %s has run out, although it lives: controller %s does not ask it.", proxy, who),
			fmt.Sprintf("proxy %s does not hold in time; controller %s takes everything back.", proxy, who),
		}[l.b]
	case reads:
		return m.tellRead(l, before, after, who)
	case drains:
		if l.a == 1 {
			return fmt.Sprintf("controller %s has waited too long for the marker of its closing, or finds rows that differ; it takes everything back.", who)
		}
		return fmt.Sprintf("controller %s is told that %s has applied the marker of its closing, and finds no row that differs.", who, before.ctl[l.who].to)
	case drops, arrivesLate:
		st := before.wire[l.a]
		if l.verb == drops {
			return fmt.Sprintf("what controller %s had sent to %s is lost on the way.", n.controller(st.by), st.on)
		}
		return fmt.Sprintf("what controller %s had sent arrives late: it %s.", n.controller(st.by), statementWords(st))
	case applies:
		return fmt.Sprintf("controller %s's mover applies write %d to %s.", who, l.b, at)
	case receives:
		return fmt.Sprintf("controller %s's mover receives write %d, to apply it to %s.", who, l.b, at)
	case hearsProxy:
		if l.a == 1 {
			return fmt.Sprintf("proxy %s hears of the switch, and holds writes.", n.proxyNamed(l.who))
		}
		return fmt.Sprintf("proxy %s hears that %s owns, and lets writes through to it.", n.proxyNamed(l.who), side(l.b))
	case crashes:
		return fmt.Sprintf("%s's database crashes, and loses what was not durable: %s.", at, lostWords(before, after, at))
	case flushes:
		return fmt.Sprintf("%s's database makes everything durable that was committed.", at)
	case failsOver:
		if l.b == 1 {
			return fmt.Sprintf("%s's database fails over to a standby that has every change of the gate, but not what the mover has applied since.", at)
		}
		return fmt.Sprintf("%s's database fails over to a standby that has everything.", at)
	default:
		return tellWriter(l, before, n)
	}
}

func tellWriter(l label, before *state, n naming) string {
	who, at := n.writerNamed(l.who), side(l.a%2)
	switch l.verb {
	case arrives:
		if mode(l.b) == held {
			return fmt.Sprintf("%s comes to proxy %s, which holds it.", who, n.proxyNamed(l.a))
		}
		return fmt.Sprintf("%s comes to proxy %s, which lets it through to %s.", who, n.proxyNamed(l.a), side(l.c))
	case begins:
		return fmt.Sprintf("%s, past the proxies, begins a transaction at %s, whose snapshot shows the gate %s.", who, at, gateStates[before.db[at].state])
	case writes:
		how := ""
		switch {
		case l.b == 1:
			how = ", finds that the lease has run out, and opens the gate in its own transaction"
		case l.c&1 == 1:
			how = " in the transaction with the old snapshot, and the guard lets it"
		case !before.db[at].guarded:
			how = ", where no guard is enabled"
		case before.db[at].state == closing:
			how = ", and the guard lets it, because the lease has run out by the clock"
		case before.db[at].state == sealed:
			how = ", with the mover's setting, and the guard lets it"
		}
		past := ""
		if l.c>>1 == 0 && l.c&1 == 0 {
			past = ", past the proxies,"
		}
		return fmt.Sprintf("%s%s writes at %s%s; it has not committed.", who, past, at, how)
	case isRefused:
		return fmt.Sprintf("%s is refused by the guard of %s.", who, at)
	case commits:
		opened := ""
		if l.c == 1 {
			opened = ", with the opening of the gate"
		}
		return fmt.Sprintf("%s commits write %d at %s%s, and is answered.", who, l.b, at, opened)
	case expires:
		return fmt.Sprintf("%s has been held for too long: proxy %s answers 503.", who, n.proxyNamed(l.a-1))
	case ends:
		return fmt.Sprintf("%s ends its transaction at %s without having written.", who, at)
	case breaks:
		return fmt.Sprintf("the session of %s at %s breaks before it commits.", who, at)
	case givesUp:
		return fmt.Sprintf("proxy %s waits no longer for %s, whose transaction goes on.", n.proxyNamed(l.a-1), who)
	default:
		return "something happens that nobody has words for."
	}
}

// tellLook tells what a controller decides on that has read both gates.
func (m *Model) tellLook(l label, before, after *state, who string) string {
	if l.a == 1 {
		return fmt.Sprintf("controller %s may not read extracted's gate: another one leads since.", who)
	}
	k := after.ctl[l.who]
	text := fmt.Sprintf("controller %s reads extracted's gate, %s, and with legacy's as it has read it, %s, decides to ", who, before.gate(extracted), before.ctl[l.who].read)
	switch k.at {
	case mending:
		return text + statementWords3(k.want)
	case publishing:
		return text + fmt.Sprintf("publish: %s.", k.next)
	case tidying:
		return text + fmt.Sprintf("take the guards of %s out of the way.", k.want.on)
	default:
		return text + "do nothing."
	}
}

// tellRead tells what an attempt decides on that reads the gates.
func (m *Model) tellRead(l label, before, after *state, who string) string {
	k, was := after.ctl[l.who], before.ctl[l.who]
	why := map[place]string{closeRead: "to close", sealRead: "to see what became of its sealing", openRead: "to open", reopenRead: "to take its closing back", releaseRead: "to release the writes"}
	if l.b == 1 {
		return fmt.Sprintf("controller %s cannot read the gates.", who)
	}
	if reason, first := why[was.at]; first {
		return fmt.Sprintf("controller %s reads legacy's gate, %s, %s.", who, before.gate(legacy), reason)
	}
	text := fmt.Sprintf("controller %s reads extracted's gate, %s", who, before.gate(extracted))
	switch k.at {
	case closeGate, openGate, reopenGate, sealReopen:
		return text + ", and is about to " + statementWords3(k.want)
	case releaseStore:
		return text + ", and is about to release the writes."
	}
	return text + "."
}

func statementWords(s statement) string {
	return map[kind]string{
		shut:     fmt.Sprintf("closes %s's gate (%d to %d)", s.on, s.from, s.to),
		seal:     fmt.Sprintf("seals %s's gate, as closed at %d", s.on, s.from),
		openIt:   fmt.Sprintf("opens %s's gate (%d to %d)", s.on, s.from, s.to),
		sealOpen: fmt.Sprintf("seals %s's open gate (%d to %d)", s.on, s.from, s.to),
		disable:  fmt.Sprintf("disables %s's guards, as opened at %d", s.on, s.from),
	}[s.kind]
}

func statementWords3(s statement) string {
	return map[kind]string{
		shut:     fmt.Sprintf("close %s's gate (%d to %d).", s.on, s.from, s.to),
		seal:     fmt.Sprintf("seal %s's gate, as closed at %d.", s.on, s.from),
		openIt:   fmt.Sprintf("open %s's gate (%d to %d).", s.on, s.from, s.to),
		sealOpen: fmt.Sprintf("seal %s's open gate (%d to %d).", s.on, s.from, s.to),
	}[s.kind]
}

func howWords(how uint8, s statement) string {
	return []string{
		goesWell:     "and is told so.",
		isLate:       "too late: the gate has changed, or the lease has run out.",
		waitsTooLong: "but writers are at work, and it gives up.",
		isFenced:     "but its session was ended: another one leads since.",
		isLost:       "but the connection breaks before.",
		goesLater:    "and gets no answer: the statement is still on its way.",
	}[how]
}

func publishWords(l label, before, after *state) string {
	what := after.store.String()
	switch l.b {
	case goesWell:
		return fmt.Sprintf("stores: %s.", what)
	case isLate:
		return "cannot store its state, because somebody else has stored one meanwhile; it reads that."
	case isUnheard:
		return fmt.Sprintf("stores: %s; it hears an error, and reads what is stored.", what)
	case isUnknown:
		return fmt.Sprintf("stores: %s; it hears an error, and cannot read what is stored.", what)
	}
	return "cannot reach the store."
}

// String is a stored state in words.
func (e effective) String() string {
	text := fmt.Sprintf("%s owns at epoch %d", e.owner, e.epoch)
	if e.switching {
		text += ", writes are held"
	}
	if e.running > 0 {
		text += fmt.Sprintf(", a switch to %s runs", side(e.running-1))
	}
	return text
}

func lostWords(before, after *state, on side) string {
	b, a := before.db[on], after.db[on]
	text := ""
	if b.state != a.state || b.epoch != a.epoch {
		text = fmt.Sprintf("its gate is %s@%d again", gateStates[a.state], a.epoch)
	}
	if b.value != a.value {
		if text != "" {
			text += ", and "
		}
		text += fmt.Sprintf("write %d is gone", b.value)
	}
	return text
}
