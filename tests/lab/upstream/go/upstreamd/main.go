// SPDX-License-Identifier: Apache-2.0

// Command upstreamd is the part of the lab's upstream that nginx cannot play: the registry's token
// server and a host whose answers are faulty on request. It listens on a unix socket behind nginx.
//
//	upstreamd -socket S -key K -cert C -service NAME -user U -password-file F -www DIR
package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	socket := flag.String("socket", "", "unix socket to listen on")
	key := flag.String("key", "", "PEM file with the EC P-256 key that signs tokens")
	cert := flag.String("cert", "", "PEM file with that key's certificate")
	service := flag.String("service", "", "the registry's name in tokens")
	user := flag.String("user", "", "the one user")
	passwordFile := flag.String("password-file", "", "file with that user's password")
	www := flag.String("www", "", "folder with one folder of files per host, for faults")
	flag.Parse()

	password, err := os.ReadFile(*passwordFile)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := newTokenServer(*key, *cert, *service, *user, strings.TrimSpace(string(password)))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/token", tokens)
	mux.Handle("/fault/", newFaultServer(*www))
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}
