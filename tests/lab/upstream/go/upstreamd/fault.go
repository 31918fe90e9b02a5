// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// faultServer serves the same files as the other hosts, with one thing wrong:
// /fault/KIND/HOST/PATH, where HOST is dl or github and KIND one of
//
//	404         never there
//	500         always an error of the server
//	429-KEY     the first request of each path answers 429 with Retry-After: 1, later ones the file
//	truncate    announces the whole length, closes after half of it
//	cut-KEY     truncates the first request of each path; later ones, ranges too, are answered well
//	flip        one byte in the middle is another
//	norange     the whole file, whatever range is asked for
//	slow        a pause of 50 ms every 64 KiB
//
// KEY is any word: another word is another first time.
type faultServer struct {
	www  string
	mu   sync.Mutex
	seen map[string]bool
}

func newFaultServer(www string) *faultServer {
	return &faultServer{www: www, seen: map[string]bool{}}
}

func (s *faultServer) firstTime(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.seen[key]
	s.seen[key] = true
	return first
}

func (s *faultServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := strings.TrimPrefix(path.Clean(r.URL.Path), "/fault/")
	fault, file, _ := strings.Cut(request, "/")
	kind, _, _ := strings.Cut(fault, "-")
	name := filepath.Join(s.www, filepath.FromSlash(path.Clean("/"+file)))
	switch kind {
	case "404":
		http.NotFound(w, r)
	case "500":
		http.Error(w, "made to fail by the lab", http.StatusInternalServerError)
	case "429":
		if s.firstTime(request) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "slow down, says the lab", http.StatusTooManyRequests)
			return
		}
		http.ServeFile(w, r, name)
	case "cut":
		if !s.firstTime(request) {
			http.ServeFile(w, r, name)
			return
		}
		s.damaged(w, name, "truncate")
	case "truncate", "flip", "norange", "slow":
		s.damaged(w, name, kind)
	default:
		http.Error(w, fmt.Sprintf("no such fault: %q", kind), http.StatusBadRequest)
	}
}

func (s *faultServer) damaged(w http.ResponseWriter, name, kind string) {
	file, err := os.Open(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		http.Error(w, "not a file", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(info.Size()))
	switch kind {
	case "truncate":
		_, _ = io.CopyN(w, file, info.Size()/2)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(20 * time.Millisecond) // lets nginx pass the half on before it sees the end
		panic(http.ErrAbortHandler)
	case "flip":
		_, _ = io.CopyN(w, file, info.Size()/2)
		one := make([]byte, 1)
		_, _ = io.ReadFull(file, one)
		one[0] ^= 1
		_, _ = w.Write(one)
		_, _ = io.Copy(w, file)
	case "slow":
		for {
			if _, err := io.CopyN(w, file, 64<<10); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	default:
		_, _ = io.Copy(w, file)
	}
}
