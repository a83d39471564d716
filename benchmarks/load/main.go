// A closed loop over kept-alive connections: each sends its next request when the answer to the last one has ended.
//
// Prints one JSON object: requests, errors, rates, latency percentiles, and for streams the gaps between reads.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"
)

type tally struct {
	latencies []float64
	firsts    []float64
	gaps      []float64
	chunks    int
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

func (t *tally) readStream(body io.Reader, reader *bufio.Reader, began time.Time, gaps bool) {
	reader.Reset(body)
	ended, first := false, true
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
			return
		}
		t.chunks++
		if first {
			t.firsts = append(t.firsts, milliseconds(began))
			before = time.Now()
			first = false
		} else if gaps {
			now := time.Now()
			t.gaps = append(t.gaps, float64(now.Sub(before).Nanoseconds())/1e6)
			before = now
		}
	}
	if !ended {
		t.fail("the stream ended without [DONE]")
	}
}

func (t *tally) run(client *http.Client, url, key string, body []byte, stream, gaps bool, begin, until time.Time) {
	reader := bufio.NewReaderSize(nil, 64*1024)
	for time.Now().Before(until) {
		request, _ := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		if key != "" {
			request.Header.Set("Authorization", "Bearer "+key)
		}
		began := time.Now()
		counted := began.After(begin)
		if counted && len(t.latencies) == 0 {
			t.chunks, t.firsts, t.gaps = 0, t.firsts[:0], t.gaps[:0]
		}
		t.sent++
		response, err := client.Do(request)
		if err != nil {
			t.fail(err.Error())
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if response.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(response.Body)
			t.fail(fmt.Sprintf("%d %s", response.StatusCode, text))
		} else if stream {
			t.readStream(response.Body, reader, began, gaps)
		} else if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.fail(err.Error())
		}
		_ = response.Body.Close()
		if counted {
			t.latencies = append(t.latencies, milliseconds(began))
		}
	}
}

func main() {
	url := flag.String("url", "", "address of chat/completions")
	key := flag.String("key", "", "bearer key")
	body := flag.String("body", "", "JSON body")
	connections := flag.Int("c", 1, "connections")
	seconds := flag.Float64("seconds", 5, "how long, after the warm-up")
	warm := flag.Float64("warm", 1, "seconds of warm-up that are not counted")
	stream := flag.Bool("stream", false, "read server-sent events")
	gaps := flag.Bool("gaps", false, "keep the gaps between chunks")
	flag.Parse()

	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: *connections, MaxConnsPerHost: *connections, DisableCompression: true}}
	begin := time.Now().Add(time.Duration(*warm * float64(time.Second)))
	until := begin.Add(time.Duration(*seconds * float64(time.Second)))
	tallies := make([]tally, *connections)
	var group sync.WaitGroup
	for i := range tallies {
		group.Add(1)
		go func(t *tally) {
			defer group.Done()
			t.run(client, *url, *key, []byte(*body), *stream, *gaps, begin, until)
		}(&tallies[i])
	}
	group.Wait()
	elapsed := time.Since(begin).Seconds()

	var all tally
	for _, each := range tallies {
		all.latencies = append(all.latencies, each.latencies...)
		all.firsts = append(all.firsts, each.firsts...)
		all.gaps = append(all.gaps, each.gaps...)
		all.chunks += each.chunks
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
		Sent: all.sent, Requests: len(all.latencies), Errors: all.errors, Example: all.example, Seconds: elapsed,
		Rate: float64(len(all.latencies)) / elapsed, Chunks: all.chunks, ChunkRate: float64(all.chunks) / elapsed,
		P50: percentile(all.latencies, 0.5), P99: percentile(all.latencies, 0.99),
		FirstP50: percentile(all.firsts, 0.5), FirstP99: percentile(all.firsts, 0.99),
		GapP50: percentile(all.gaps, 0.5), GapP99: percentile(all.gaps, 0.99), GapMax: percentile(all.gaps, 1),
	})
}
