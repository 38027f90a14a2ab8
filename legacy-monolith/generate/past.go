package generate

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// epoch is when the first customer registers; the first order comes a year later.
var epoch = time.Date(2023, time.January, 1, 8, 0, 0, 0, time.UTC)

const (
	year         = 365 * 24 * time.Hour
	yearsOfTrade = 2
	maxLines     = 3
	maxPieces    = 3
	cancelledPer = 25 // one order of so many is cancelled
	notePer      = 10 // one order of so many has a note
	cartPer      = 20 // one customer of so many has something in the cart
)

// past is everything that happened, before it becomes rows.
type past struct {
	size     Size
	products []product
	orders   []order
	carts    []cart
}

type product struct {
	name, description, category string
	priceCents                  int64
}

type order struct {
	customer  int
	cancelled bool
	note      string
	at        time.Time
	lines     []line
	total     int64
}

type line struct {
	product    int
	quantity   int
	priceCents int64
}

type cart struct {
	customer int
	at       time.Time
	lines    []line
}

var (
	givenNames  = []string{"Ada", "Bela", "Chidi", "Dora", "Emil", "Fatima", "Goran", "Hana", "Ivo", "Jana", "Kofi", "Lea", "Mira", "Noor", "Otto", "Priya", "Quentin", "Rosa", "Sami", "Tove"}
	familyNames = []string{"Adler", "Brandt", "Costa", "Dvorak", "Eriksen", "Farkas", "Garcia", "Hansen", "Ito", "Jansen", "Kovacs", "Lind", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Silva", "Tanaka", "Weber"}
	materials   = []string{"Oak", "Linen", "Steel", "Wool", "Glass", "Bamboo", "Copper", "Cotton", "Cork", "Ceramic", "Leather", "Ash", "Slate"}
	adjectives  = []string{"Small", "Large", "Folding", "Round", "Light", "Sturdy", "Plain", "Striped", "Quiet", "Warm", "Old-fashioned"}
	notes       = []string{"please ring twice", "leave it with the neighbours", "a present, no invoice in the parcel", "mornings only", "thank you!"}
	shelves     = []struct {
		category string
		things   []string
	}{
		{"kitchen", []string{"Bowl", "Kettle", "Cutting Board", "Jug", "Pan"}},
		{"living", []string{"Lamp", "Cushion", "Blanket", "Shelf", "Vase"}},
		{"garden", []string{"Spade", "Planter", "Bench", "Watering Can", "Lantern"}},
		{"office", []string{"Notebook", "Desk Tray", "Pen Holder", "Chair", "Clock"}},
		{"bath", []string{"Towel", "Mirror", "Soap Dish", "Stool", "Basket"}},
		{"children", []string{"Puzzle", "Kite", "Building Blocks", "Night Light", "Swing"}},
		{"travel", []string{"Suitcase", "Bottle", "Umbrella", "Wash Bag", "Map Case"}},
		{"workshop", []string{"Hammer", "Toolbox", "Vice", "Folding Rule", "Apron"}},
	}
)

// imagine makes up a past. It is pure: all chance comes from the seed.
func imagine(size Size) *past {
	p := &past{size: size}
	chance := rand.New(rand.NewPCG(size.Seed, 0x5170))
	p.products = make([]product, size.Products)
	for i := range p.products {
		p.products[i] = imagineProduct(chance)
	}
	if size.Orders > 0 {
		p.orders = make([]order, size.Orders)
		pause := yearsOfTrade * year / time.Duration(size.Orders)
		for i := range p.orders {
			at := epoch.Add(year + time.Duration(i)*pause + time.Duration(chance.Int64N(int64(pause)))).Truncate(time.Microsecond)
			p.orders[i] = p.imagineOrder(chance, at)
		}
	}
	for customer := 1; customer <= size.Customers && size.Products > 0; customer++ {
		if chance.IntN(cartPer) == 0 {
			at := epoch.Add((1 + yearsOfTrade) * year).Add(time.Duration(customer) * time.Second)
			p.carts = append(p.carts, cart{customer: customer, at: at, lines: p.imagineLines(chance)})
		}
	}
	return p
}

func imagineProduct(chance *rand.Rand) product {
	shelf := shelves[chance.IntN(len(shelves))]
	thing := shelf.things[chance.IntN(len(shelf.things))]
	material, adjective := materials[chance.IntN(len(materials))], adjectives[chance.IntN(len(adjectives))]
	return product{
		name:        adjective + " " + material + " " + thing,
		description: fmt.Sprintf("%s, made of %s. For the %s, and for years.", thing, material, shelf.category),
		category:    shelf.category,
		priceCents:  199 + 50*chance.Int64N(400),
	}
}

func (p *past) imagineOrder(chance *rand.Rand, at time.Time) order {
	o := order{
		customer:  1 + often(chance, p.size.Customers),
		cancelled: chance.IntN(cancelledPer) == 0,
		at:        at,
		lines:     p.imagineLines(chance),
	}
	if chance.IntN(notePer) == 0 {
		o.note = notes[chance.IntN(len(notes))]
	}
	for _, l := range o.lines {
		o.total += int64(l.quantity) * l.priceCents
	}
	return o
}

// imagineLines picks distinct products, in order of product like a checkout does.
func (p *past) imagineLines(chance *rand.Rand) []line {
	count := min(1+chance.IntN(maxLines), p.size.Products)
	lines := make([]line, 0, count)
	for len(lines) < count {
		pick := 1 + often(chance, p.size.Products)
		at, taken := 0, false
		for at < len(lines) && lines[at].product <= pick {
			taken = taken || lines[at].product == pick
			at++
		}
		if taken {
			continue
		}
		lines = append(lines, line{})
		copy(lines[at+1:], lines[at:])
		lines[at] = line{product: pick, quantity: 1 + chance.IntN(maxPieces), priceCents: p.products[pick-1].priceCents}
	}
	return lines
}

// often draws from 0 to n-1 with the low numbers more often than the high ones:
// some customers buy much, and some products are bought much.
func often(chance *rand.Rand, n int) int {
	f := chance.Float64()
	return int(f * (0.2 + 0.8*f) * float64(n))
}
