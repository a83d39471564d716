// A model server that answers at once: 32 words as JSON, or as 33 server-sent chunks and their usage.
//
// A body with "gap_ms" gets its chunks paced, one each gap, "chunks" of them. It serves /v1/models for probes.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"
)

const words = 32

type request struct {
	Model  string  `json:"model"`
	Stream bool    `json:"stream"`
	GapMs  float64 `json:"gap_ms"`
	Chunks int     `json:"chunks"`
}

const usage = `"usage":{"prompt_tokens":12,"completion_tokens":32,"total_tokens":44}`

func chunk(content string, finish string) []byte {
	return []byte(fmt.Sprintf(`data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench",`+
		`"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}`+"\n\n", content, finish))
}

var (
	whole = []byte(`{"id":"chatcmpl-bench","object":"chat.completion","created":1,"model":"bench","choices":[{"index":0,` +
		`"message":{"role":"assistant","content":"` + strings.TrimSpace(strings.Repeat("word ", words)) +
		`"},"finish_reason":"stop"}],` + usage + `}`)
	word      = chunk("word ", "null")
	last      = chunk("", `"stop"`)
	usageOnly = []byte(`data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1,"model":"bench",` +
		`"choices":[],` + usage + `}` + "\n\n")
	done = []byte("data: [DONE]\n\n")
)

func chat(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var asked request
	if err := json.Unmarshal(body, &asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !asked.Stream {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		_, _ = w.Write(whole)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := w.(http.Flusher)
	count := words
	if asked.Chunks > 0 {
		count = asked.Chunks
	}
	next := time.Now()
	for i := 0; i < count; i++ {
		if asked.GapMs > 0 {
			next = next.Add(time.Duration(asked.GapMs * float64(time.Millisecond)))
			select {
			case <-r.Context().Done():
				return
			case <-time.After(time.Until(next)):
			}
		}
		if _, err := w.Write(word); err != nil {
			return
		}
		flusher.Flush()
	}
	_, _ = w.Write(last)
	flusher.Flush()
	_, _ = w.Write(usageOnly)
	_, _ = w.Write(done)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9100", "address")
	flag.Parse()
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/chat/completions", chat)
	mux.HandleFunc("/v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"bench","object":"model","created":1,"owned_by":"bench"}]}`)
	})
	ok := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	mux.HandleFunc("/health", ok)
	mux.HandleFunc("/metrics", ok)
	log.Fatal(http.ListenAndServe(*listen, mux))
}
