// A closed loop over kept-alive connections: each sends its next request when the answer to the last one has ended.
//
// Prints one JSON object: answers that ended within the time, errors, rates, latency percentiles, and for streams the
// gaps between reads. Latencies are of all whole answers after the warm-up, those that ended too late included.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type tally struct {
	latencies []float64
	firsts    []float64
	gaps      []float64
	chunks    int // of the answers that ended within the time
	requests  int // answers that came whole and ended within the time
	sent      int
	errors    int
	example   string
}

type result struct {
	Sent      int     `json:"sent"`
	Requests  int     `json:"requests"`
	Errors    int     `json:"errors"`
	Example   string  `json:"example_error"`
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"requests_per_s"`
	Chunks    int     `json:"chunks"`
	ChunkRate float64 `json:"chunks_per_s"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	FirstP50  float64 `json:"first_byte_p50_ms"`
	FirstP99  float64 `json:"first_byte_p99_ms"`
	GapP50    float64 `json:"gap_p50_ms"`
	GapP99    float64 `json:"gap_p99_ms"`
	GapMax    float64 `json:"gap_max_ms"`
}

func percentile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return values[int(share*float64(len(values)-1))]
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since).Nanoseconds()) / 1e6 }

var (
	word  = []byte("word")
	event = []byte("data: ")
	done  = []byte("data: [DONE]")
	fault = []byte(`data: {"error"`)
)

func (t *tally) fail(text string) {
	t.errors++
	if t.example == "" {
		t.example = text
	}
}

// One load: where it goes, what it sends and what an answer must have.
type load struct {
	client  *http.Client
	url     string
	headers http.Header
	keys    []string
	turn    atomic.Int64
	body    []byte
	stream  bool
	gaps    bool
	words   int
	begin   time.Time
	until   time.Time

	everything context.Context
}

func (t *tally) countWords(found, wanted int) bool {
	if wanted > 0 && found != wanted {
		t.fail(fmt.Sprintf("an answer of %d words instead of %d", found, wanted))
		return false
	}
	return true
}

// Whether the answer came whole.
func (t *tally) readWhole(body io.Reader, wanted int) bool {
	if wanted == 0 {
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.fail(err.Error())
			return false
		}
		return true
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.fail(err.Error())
		return false
	}
	if !json.Valid(text) {
		t.fail("an answer that is no JSON")
		return false
	}
	return t.countWords(bytes.Count(text, word), wanted)
}

// The stream's chunks, and whether it came whole; its times are kept when it is counted.
func (t *tally) readStream(l *load, body io.Reader, reader *bufio.Reader, began time.Time) (int, bool) {
	reader.Reset(body)
	ended, first, counted := false, true, began.After(l.begin)
	chunks, found := 0, 0
	before := began
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			break
		}
		if !bytes.HasPrefix(line, event) {
			continue
		}
		if bytes.HasPrefix(line, done) {
			ended = true
			continue
		}
		if bytes.HasPrefix(line, fault) {
			t.fail(string(line))
			return chunks, false
		}
		chunks++
		if l.words > 0 {
			found += bytes.Count(line, word)
		}
		if !counted {
			continue
		}
		if first {
			t.firsts = append(t.firsts, milliseconds(began))
			before = time.Now()
			first = false
		} else if l.gaps {
			now := time.Now()
			t.gaps = append(t.gaps, float64(now.Sub(before).Nanoseconds())/1e6)
			before = now
		}
	}
	if !ended {
		t.fail("the stream ended without [DONE]")
		return chunks, false
	}
	return chunks, t.countWords(found, l.words)
}

func (t *tally) run(l *load) {
	reader := bufio.NewReaderSize(nil, 64*1024)
	for time.Now().Before(l.until) {
		request, _ := http.NewRequestWithContext(l.everything, http.MethodPost, l.url, bytes.NewReader(l.body))
		for name, values := range l.headers {
			request.Header[name] = values
		}
		if len(l.keys) > 0 {
			next := int(l.turn.Add(1)) % len(l.keys)
			request.Header["Authorization"] = []string{"Bearer " + l.keys[next]}
		}
		began := time.Now()
		t.sent++
		response, err := l.client.Do(request)
		if err != nil {
			t.fail(err.Error())
			time.Sleep(10 * time.Millisecond)
			continue
		}
		whole, chunks := false, 0
		if response.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(response.Body)
			t.fail(fmt.Sprintf("%d %s", response.StatusCode, text))
		} else if l.stream {
			chunks, whole = t.readStream(l, response.Body, reader, began)
		} else {
			whole = t.readWhole(response.Body, l.words)
		}
		_ = response.Body.Close()
		ended := time.Now()
		if !whole || ended.Before(l.begin) {
			continue
		}
		// What began before the time and ended in it is counted: else whoever is slow would lose its first answers.
		t.latencies = append(t.latencies, milliseconds(began))
		if ended.Before(l.until) {
			t.requests++
			t.chunks += chunks
		}
	}
}

func main() {
	url := flag.String("url", "", "address of chat/completions")
	key := flag.String("key", "", "bearer key")
	keyFile := flag.String("keys", "", "file of bearer keys, one a line, that take turns")
	body := flag.String("body", "", "JSON body")
	connections := flag.Int("c", 1, "connections")
	seconds := flag.Float64("seconds", 5, "how long, after the warm-up")
	warm := flag.Float64("warm", 1, "seconds of warm-up that are not counted")
	stream := flag.Bool("stream", false, "read server-sent events")
	gaps := flag.Bool("gaps", false, "keep the gaps between chunks")
	words := flag.Int("words", 0, "an answer that has not so many times \"word\" in it is an error; 0 does not look")
	grace := flag.Duration("grace", 60*time.Second, "how long answers may take that are open at the end")
	headers := http.Header{"Content-Type": {"application/json"}}
	flag.Func("header", "one more header, as Name: value; may stand several times", func(text string) error {
		name, value, found := strings.Cut(text, ":")
		if !found {
			return fmt.Errorf("%q is not Name: value", text)
		}
		headers.Set(name, strings.TrimSpace(value))
		return nil
	})
	flag.Parse()
	if *key != "" {
		headers.Set("Authorization", "Bearer "+*key)
	}
	var keys []string
	if *keyFile != "" {
		text, err := os.ReadFile(*keyFile)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		keys = strings.Fields(string(text))
	}

	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: *connections, MaxConnsPerHost: *connections, DisableCompression: true}}
	begin := time.Now().Add(time.Duration(*warm * float64(time.Second)))
	until := begin.Add(time.Duration(*seconds * float64(time.Second)))
	// One deadline for all: a timer of each request would cost more than the request does in here.
	everything, end := context.WithDeadline(context.Background(), until.Add(*grace))
	defer end()
	shared := &load{
		client: client, url: *url, headers: headers, keys: keys, body: []byte(*body), stream: *stream, gaps: *gaps, words: *words,
		begin: begin, until: until, everything: everything}
	tallies := make([]tally, *connections)
	var group sync.WaitGroup
	for i := range tallies {
		group.Add(1)
		go func(t *tally) {
			defer group.Done()
			t.run(shared)
		}(&tallies[i])
	}
	group.Wait()
	var all tally
	for _, each := range tallies {
		all.latencies = append(all.latencies, each.latencies...)
		all.firsts = append(all.firsts, each.firsts...)
		all.gaps = append(all.gaps, each.gaps...)
		all.chunks += each.chunks
		all.requests += each.requests
		all.sent += each.sent
		all.errors += each.errors
		if all.example == "" {
			all.example = each.example
		}
	}
	for _, values := range [][]float64{all.latencies, all.firsts, all.gaps} {
		sort.Float64s(values)
	}
	_ = json.NewEncoder(os.Stdout).Encode(result{
		Sent: all.sent, Requests: all.requests, Errors: all.errors, Example: all.example, Seconds: *seconds,
		Rate: float64(all.requests) / *seconds, Chunks: all.chunks, ChunkRate: float64(all.chunks) / *seconds,
		P50: percentile(all.latencies, 0.5), P99: percentile(all.latencies, 0.99),
		FirstP50: percentile(all.firsts, 0.5), FirstP99: percentile(all.firsts, 0.99),
		GapP50: percentile(all.gaps, 0.5), GapP99: percentile(all.gaps, 0.99), GapMax: percentile(all.gaps, 1),
	})
}
