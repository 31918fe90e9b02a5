// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const tokenLife = 5 * time.Minute

// tokenServer is the token endpoint of the distribution project's authentication: GET as docker
// and most clients use it, POST as OAuth2 clients do. Nobody in particular may pull anything that
// is not below private/; the one user may pull and push everything.
type tokenServer struct {
	key            *ecdsa.PrivateKey
	chain          []string
	service        string
	user, password string
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

func newTokenServer(keyFile, certFile, service, user, password string) (*tokenServer, error) {
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	keyBlock, _ := pem.Decode(keyPEM)
	certBlock, _ := pem.Decode(certPEM)
	if keyBlock == nil || certBlock == nil {
		return nil, fmt.Errorf("%s or %s is not PEM", keyFile, certFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an EC key", keyFile)
	}
	chain := []string{base64.StdEncoding.EncodeToString(certBlock.Bytes)}
	return &tokenServer{key: key, chain: chain, service: service, user: user, password: password}, nil
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		tokenError(w, http.StatusBadRequest, err.Error())
		return
	}
	subject, err := s.authenticate(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="kpack lab"`)
		tokenError(w, http.StatusUnauthorized, err.Error())
		return
	}
	if service := r.Form.Get("service"); service != s.service {
		tokenError(w, http.StatusBadRequest, fmt.Sprintf("unknown service %q", service))
		return
	}
	token, err := s.sign(subject, s.grant(subject, r.Form["scope"]))
	if err != nil {
		tokenError(w, http.StatusInternalServerError, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token": token, "access_token": token, "expires_in": int(tokenLife.Seconds()),
		"issued_at": time.Now().UTC().Format(time.RFC3339),
	})
}

// authenticate returns the user's name, "" for nobody in particular, or an error for wrong credentials.
func (s *tokenServer) authenticate(r *http.Request) (string, error) {
	user, password, given := r.BasicAuth()
	if r.Method == http.MethodPost && r.PostForm.Get("grant_type") == "password" {
		user, password, given = r.PostForm.Get("username"), r.PostForm.Get("password"), true
	}
	if !given {
		return "", nil
	}
	sameUser := subtle.ConstantTimeCompare([]byte(user), []byte(s.user))
	samePassword := subtle.ConstantTimeCompare([]byte(password), []byte(s.password))
	if sameUser&samePassword != 1 {
		return "", fmt.Errorf("wrong user or password")
	}
	return user, nil
}

// grant gives of the scopes asked for (each may hold several, separated by spaces) what the subject may have.
func (s *tokenServer) grant(subject string, scopes []string) []access {
	granted := []access{}
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		kind, rest, _ := strings.Cut(scope, ":")
		last := strings.LastIndex(rest, ":")
		if last < 0 {
			continue
		}
		name, actions := rest[:last], strings.Split(rest[last+1:], ",")
		if subject == "" {
			open := kind == "repository" && !strings.HasPrefix(name, "private/")
			if !open || !slices.Contains(actions, "pull") {
				continue
			}
			actions = []string{"pull"}
		}
		granted = append(granted, access{Type: kind, Name: name, Actions: actions})
	}
	return granted
}

func (s *tokenServer) sign(subject string, granted []access) (string, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	now := time.Now()
	header, err := encodePart(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": s.chain})
	if err != nil {
		return "", err
	}
	claims, err := encodePart(map[string]any{
		"iss": "kpack-lab", "sub": subject, "aud": s.service, "jti": hex.EncodeToString(id),
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(tokenLife).Unix(), "access": granted,
	})
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(header + "." + claims))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return header + "." + claims + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func encodePart(v any) (string, error) {
	text, err := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(text), err
}

func tokenError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{
		"errors": []map[string]string{{"code": "UNAUTHORIZED", "message": message}},
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
