package shoppers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"
)

// Password is that of every generated customer.
const Password = "secret"

// Email is the address of generated customer n, counted from 1.
func Email(n int) string { return fmt.Sprintf("customer-%d@example.com", n) }

// Options of a load. All of them are needed.
type Options struct {
	URL       string  // http://host:port of the shop
	Run       string  // starts every ref, so that runs can be told apart
	Seed      uint64  // of what shoppers choose to do
	Shoppers  int     // how many may be busy at once: enough for all that arrive during the longest stall
	Customers int     // how many were generated; shoppers are spread over them
	Products  int     // how many were generated
	Writes    float64 // arrivals per second
	Reads     float64 // arrivals per second, besides the reads that follow each write
}

// Customer is the account of one shopper and how many writes it had before the load.
type Customer struct {
	ID     int64
	Before int64
}

// Load is a number of shoppers, logged in.
type Load struct {
	options  Options
	shoppers []*shopper
	idle     chan *shopper // everybody who is not busy, longest idle first
	record   *Record
}

// loginsAtOnce bounds the logins side by side: hashing passwords is work.
const loginsAtOnce = 8

// Enter logs all shoppers in and reads what they have. It blocks until all are, or the first fails.
func Enter(ctx context.Context, o Options) (*Load, error) {
	if o.Shoppers > o.Customers || o.Products < 1 {
		return nil, fmt.Errorf("enter the shop: %d shoppers need as many customers, and products to buy; there are %d and %d",
			o.Shoppers, o.Customers, o.Products)
	}
	shop, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("enter the shop: %w", err)
	}
	l := &Load{options: o, idle: make(chan *shopper, o.Shoppers), record: newRecord(time.Now())}
	for i := range o.Shoppers {
		l.shoppers = append(l.shoppers, &shopper{
			number:   1 + i*o.Customers/o.Shoppers,
			run:      o.Run,
			products: o.Products,
			chance:   rand.New(rand.NewPCG(o.Seed, uint64(i))),
			shop:     shop,
			conn:     newConnection(shop.Host),
			record:   l.record,
		})
	}
	return l, l.enter(ctx)
}

func (l *Load) enter(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var logins sync.WaitGroup
	free := make(chan struct{}, loginsAtOnce)
	for _, s := range l.shoppers {
		free <- struct{}{}
		logins.Go(func() {
			defer func() { <-free }()
			if ctx.Err() != nil {
				return
			}
			if err := s.enter(); err != nil {
				cancel(fmt.Errorf("log in shopper %d: %w", s.number, err))
				return
			}
			l.idle <- s
		})
	}
	logins.Wait()
	return context.Cause(ctx)
}

// Record is what the load has seen.
func (l *Load) Record() *Record { return l.record }

// Customers are the accounts of the shoppers.
func (l *Load) Customers() []Customer {
	var all []Customer
	for _, s := range l.shoppers {
		all = append(all, Customer{ID: s.customer, Before: s.before})
	}
	return all
}

// Run lets shoppers arrive until ctx ends; then nobody starts anything new, and Run returns when everybody has the
// answers to what they had asked, at the latest after two times the answer's timeout. It can be run once.
func (l *Load) Run(ctx context.Context) {
	l.record.begin(time.Now())
	var busy, schedules sync.WaitGroup
	schedules.Go(func() { l.arrive(ctx, l.options.Writes, &busy, (*shopper).write) })
	schedules.Go(func() { l.arrive(ctx, l.options.Reads, &busy, (*shopper).read) })
	schedules.Wait()
	busy.Wait()
	for _, s := range l.shoppers {
		_ = s.conn.close() // nothing is on its way in it
	}
}

// arrive sends the longest idle shopper at every moment of the schedule. With nobody idle it falls behind and catches
// up, and the moments stay what they were: whoever starts late has waited, and is measured so.
func (l *Load) arrive(ctx context.Context, perS float64, busy *sync.WaitGroup, act func(*shopper, time.Time)) {
	if perS <= 0 {
		return
	}
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 1; ; i++ {
		moment := began.Add(time.Duration(float64(i) / perS * float64(time.Second)))
		timer.Reset(time.Until(moment))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return
		case s := <-l.idle:
			busy.Go(func() {
				l.record.arrived(time.Since(moment))
				act(s, moment)
				l.idle <- s
			})
		}
	}
}
