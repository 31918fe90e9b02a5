// SPDX-License-Identifier: Apache-2.0

// Command crictl is a STAND-IN for cri-tools' crictl, for the kpack lab only, where cri-tools
// cannot be had. It knows the commands that kubeadm and the lab use, speaks the real CRI, and says
// what it is. At a real site the real crictl is installed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const notice = "a stand-in built for the kpack lab, not cri-tools"

var version = "v0"

type options struct {
	endpoint string
	template string
	output   string
	name     string
	tail     int
	timeout  time.Duration
	quiet    bool
	all      bool
	words    []string
}

type client struct {
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
}

var commands = map[string]func(context.Context, *client, *options) error{
	"info": info, "version": runtimeVersion, "pull": pull, "images": images, "inspecti": inspecti,
	"pods": pods, "ps": ps, "stopp": stopp, "rmp": rmp, "stop": stop, "rm": remove, "logs": logs,
	"inspect": inspect, "inspectp": inspectp,
}

func main() {
	opts, err := parse(os.Args[1:])
	if err == nil {
		err = run(opts)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "crictl (%s): %v\n", notice, err)
		os.Exit(1)
	}
}

// configured reads the endpoint that /etc/crictl.yaml names, as crictl does where no option says.
func configured(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, found := strings.CutPrefix(line, "runtime-endpoint:"); found {
			return strings.Trim(strings.TrimSpace(value), "\"'")
		}
	}
	return ""
}

// parse takes the options of crictl that are used here, before or after the command, as -o V,
// --option V and --option=V.
func parse(args []string) (*options, error) {
	opts := &options{endpoint: os.Getenv("CONTAINER_RUNTIME_ENDPOINT"), timeout: 10 * time.Minute}
	if opts.endpoint == "" {
		opts.endpoint = configured("/etc/crictl.yaml")
	}
	if opts.endpoint == "" {
		opts.endpoint = "unix:///run/containerd/containerd.sock"
	}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		switch name {
		case "-r", "--runtime-endpoint", "-i", "--image-endpoint", "-t", "--timeout", "-o", "--output", "--template", "--name", "--tail":
			if !inline {
				if i++; i >= len(args) {
					return nil, fmt.Errorf("option %s needs a value", name)
				}
				value = args[i]
			}
			if err := opts.take(name, value); err != nil {
				return nil, err
			}
		case "-q", "--quiet":
			opts.quiet = true
		case "-a", "--all":
			opts.all = true
		case "-D", "--debug":
		case "-v", "--version":
			opts.words = []string{"--version"}
			return opts, nil
		default:
			if strings.HasPrefix(name, "-") {
				return nil, fmt.Errorf("unknown option %s", name)
			}
			opts.words = append(opts.words, args[i])
		}
	}
	return opts, nil
}

func (opts *options) take(name, value string) error {
	switch name {
	case "-r", "--runtime-endpoint":
		opts.endpoint = value
	case "--template":
		opts.template = value
	case "-o", "--output":
		if value != "json" && value != "table" && value != "go-template" {
			return fmt.Errorf("output %q is not known here: json, table, go-template", value)
		}
		opts.output = value
	case "--name":
		opts.name = value
	case "--tail":
		lines, err := strconv.Atoi(value)
		if err != nil || lines < 0 {
			return fmt.Errorf("--tail needs a number, not %q", value)
		}
		opts.tail = lines
	}
	return nil
}

func run(opts *options) error {
	if len(opts.words) == 0 {
		return fmt.Errorf("name a command: info version pull images inspect inspecti inspectp pods ps logs stop rm stopp rmp")
	}
	if opts.words[0] == "--version" {
		fmt.Printf("crictl version %s (%s)\n", version, notice)
		return nil
	}
	command, known := commands[opts.words[0]]
	if !known {
		return fmt.Errorf("unknown command %q", opts.words[0])
	}
	opts.words = opts.words[1:]
	endpoint := opts.endpoint
	if strings.HasPrefix(endpoint, "/") {
		endpoint = "unix://" + endpoint
	}
	conn, err := grpc.Dial(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), opts.timeout)
	defer cancel()
	return command(ctx, &client{cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)}, opts)
}

// named says whether --name, a regular expression as in crictl, lets it through.
func named(opts *options, name string) (bool, error) {
	if opts.name == "" {
		return true, nil
	}
	return regexp.MatchString(opts.name, name)
}

func printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		fmt.Println(string(text))
	}
	return err
}

// info prints the runtime's status and, as crictl does, its verbose parts as JSON of their own;
// kubeadm asks for one value of it by a template.
func info(ctx context.Context, c *client, opts *options) error {
	answer, err := c.runtime.Status(ctx, &cri.StatusRequest{Verbose: true})
	if err != nil {
		return err
	}
	out := map[string]any{"status": answer.Status}
	for key, value := range answer.Info {
		var parsed any
		if json.Unmarshal([]byte(value), &parsed) != nil {
			parsed = value
		}
		out[key] = parsed
	}
	if opts.template == "" {
		return printJSON(out)
	}
	wanted, err := template.New("info").Parse(opts.template + "\n")
	if err != nil {
		return err
	}
	return wanted.Execute(os.Stdout, out)
}

func runtimeVersion(ctx context.Context, c *client, _ *options) error {
	v, err := c.runtime.Version(ctx, &cri.VersionRequest{})
	if err == nil {
		fmt.Printf("Version:  %s\nRuntimeName:  %s\nRuntimeVersion:  %s\nRuntimeApiVersion:  %s\n",
			v.Version, v.RuntimeName, v.RuntimeVersion, v.RuntimeApiVersion)
	}
	return err
}

func pull(ctx context.Context, c *client, opts *options) error {
	for _, name := range opts.words {
		answer, err := c.images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: name}})
		if err != nil {
			return fmt.Errorf("pulling image %q: %w", name, err)
		}
		fmt.Printf("Image is up to date for %s\n", answer.ImageRef)
	}
	return nil
}

func images(ctx context.Context, c *client, opts *options) error {
	answer, err := c.images.ListImages(ctx, &cri.ListImagesRequest{})
	if err != nil {
		return err
	}
	if opts.output == "json" {
		return printJSON(map[string]any{"images": jsonImages(answer.Images)})
	}
	for _, image := range answer.Images {
		if opts.quiet {
			fmt.Println(image.Id)
			continue
		}
		fmt.Printf("%-72s %12d %s\n", strings.Join(image.RepoTags, ","), image.Size_, image.Id)
	}
	return nil
}

// jsonImages has the names that crictl's JSON has.
func jsonImages(list []*cri.Image) []map[string]any {
	out := []map[string]any{}
	for _, image := range list {
		out = append(out, map[string]any{"id": image.Id, "repoTags": image.RepoTags, "repoDigests": image.RepoDigests,
			"size": strconv.FormatUint(image.Size_, 10), "pinned": image.Pinned})
	}
	return out
}

func inspecti(ctx context.Context, c *client, opts *options) error {
	for _, name := range opts.words {
		answer, err := c.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
		if err != nil {
			return err
		}
		if answer.Image == nil {
			return fmt.Errorf("no such image %q present", name)
		}
		if err := printJSON(map[string]any{"status": answer.Image}); err != nil {
			return err
		}
	}
	return nil
}

func pods(ctx context.Context, c *client, opts *options) error {
	answer, err := c.runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	if opts.output == "json" {
		return printJSON(map[string]any{"items": answer.Items})
	}
	for _, pod := range answer.Items {
		if fits, err := named(opts, pod.Metadata.Name); err != nil || !fits {
			if err != nil {
				return err
			}
			continue
		}
		if opts.quiet {
			fmt.Println(pod.Id)
			continue
		}
		fmt.Printf("%.13s  %-18s %s/%s\n", pod.Id, pod.State, pod.Metadata.Namespace, pod.Metadata.Name)
	}
	return nil
}

func ps(ctx context.Context, c *client, opts *options) error {
	answer, err := c.runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return err
	}
	list := []*cri.Container{}
	for _, container := range answer.Containers {
		fits, err := named(opts, container.Metadata.Name)
		if err != nil {
			return err
		}
		if fits && (opts.all || container.State == cri.ContainerState_CONTAINER_RUNNING) {
			list = append(list, container)
		}
	}
	if opts.output == "json" {
		return printJSON(map[string]any{"containers": list})
	}
	for _, container := range list {
		if opts.quiet {
			fmt.Println(container.Id)
			continue
		}
		fmt.Printf("%.13s  %-20s attempt %d  %s\n", container.Id, container.State, container.Metadata.Attempt,
			container.Metadata.Name)
	}
	return nil
}

func stop(ctx context.Context, c *client, opts *options) error {
	for _, id := range opts.words {
		if _, err := c.runtime.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id}); err != nil {
			return err
		}
		fmt.Println(id)
	}
	return nil
}

func remove(ctx context.Context, c *client, opts *options) error {
	for _, id := range opts.words {
		if _, err := c.runtime.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: id}); err != nil {
			return err
		}
		fmt.Println(id)
	}
	return nil
}

// logs prints what the container's log file holds; each line begins with a time, a stream and a tag.
func logs(ctx context.Context, c *client, opts *options) error {
	if len(opts.words) != 1 {
		return fmt.Errorf("logs needs the id of one container")
	}
	answer, err := c.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: opts.words[0]})
	if err != nil {
		return err
	}
	text, err := os.ReadFile(answer.Status.LogPath)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if opts.tail > 0 && len(lines) > opts.tail {
		lines = lines[len(lines)-opts.tail:]
	}
	for _, line := range lines {
		parts := strings.SplitN(line, " ", 4)
		fmt.Println(parts[len(parts)-1])
	}
	return nil
}

func inspect(ctx context.Context, c *client, opts *options) error {
	for _, id := range opts.words {
		answer, err := c.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
		if err != nil {
			return err
		}
		if err := printJSON(map[string]any{"status": answer.Status}); err != nil {
			return err
		}
	}
	return nil
}

func inspectp(ctx context.Context, c *client, opts *options) error {
	for _, id := range opts.words {
		answer, err := c.runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
		if err != nil {
			return err
		}
		if err := printJSON(map[string]any{"status": answer.Status}); err != nil {
			return err
		}
	}
	return nil
}

func stopp(ctx context.Context, c *client, opts *options) error {
	for _, id := range opts.words {
		if _, err := c.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			return err
		}
		fmt.Printf("Stopped sandbox %s\n", id)
	}
	return nil
}

func rmp(ctx context.Context, c *client, opts *options) error {
	for _, id := range opts.words {
		if _, err := c.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			return err
		}
		fmt.Printf("Removed sandbox %s\n", id)
	}
	return nil
}
