package system

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapewire/tapewire/bench/harness"
)

// Kafka is Apache Kafka in KRaft mode: one broker, one partition, the log
// written back by the operating system, as by default.
const Kafka = "kafka"

const (
	kafkaVersion = "4.4.0"
	kafkaTopic   = "t"
	kafkaBatch   = 2_000 // records of a producer's batch
	kafkaWindow  = 5     // batches that wait for their confirmation, as clients have it by default
	kafkaFetch   = 1 << 20
)

// kafkaWire speaks the oldest versions of the protocol that Kafka 4 has:
// https://kafka.apache.org/protocol
func kafkaWire() Wire {
	return Wire{
		Write:  kafkaBatch * RecordSize,
		Window: kafkaWindow * kafkaBatch,
		Subscribe: func(addr string) (int, Frame, error) {
			fd, _, err := subscribePlain(addr)
			if err != nil {
				return -1, Frame{}, err
			}
			r := &kafkaReader{fd: fd}
			return fd, Frame{Next: r.next}, r.ask()
		},
		Produce: func(addr string) (*net.TCPConn, func(dst, records []byte) []byte, error) {
			c, _, err := producePlain(addr)
			return c, kafkaProduce, err
		},
		Listen: func(conn *net.TCPConn, records int, confirmed func(int)) error {
			for r := bufio.NewReader(conn); ; {
				b, err := kafkaAnswer(r)
				if err != nil {
					return err
				}
				// correlation, one topic with its name, one partition and its number
				if code := int16(binary.BigEndian.Uint16(b[4+4+2+len(kafkaTopic)+4+4:])); code != 0 {
					return fmt.Errorf("kafka refuses a batch: error %d", code)
				}
				confirmed(kafkaBatch)
			}
		},
	}
}

// kafkaAnswer reads one answer, without its length.
func kafkaAnswer(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// kafkaRequest frames a request.
func kafkaRequest(dst []byte, key, version uint16, body []byte) []byte {
	be := binary.BigEndian
	dst = be.AppendUint32(dst, uint32(2+2+4+2+len(body)))
	dst = be.AppendUint16(dst, key)
	dst = be.AppendUint16(dst, version)
	dst = be.AppendUint32(dst, 1)      // correlation
	dst = be.AppendUint16(dst, 0xffff) // no client id
	return append(dst, body...)
}

func kafkaString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// kafkaProduce makes requests of a batch each (key 0, version 3).
func kafkaProduce(dst, records []byte) []byte {
	be := binary.BigEndian
	for len(records) > 0 {
		n := min(len(records), kafkaBatch*RecordSize)
		batch := kafkaRecordBatch(records[:n])
		var body []byte
		body = be.AppendUint16(body, 0xffff) // no transaction
		body = be.AppendUint16(body, 1)      // confirmed by the leader
		body = be.AppendUint32(body, 30_000)
		body = be.AppendUint32(body, 1)
		body = kafkaString(body, kafkaTopic)
		body = be.AppendUint32(body, 1)
		body = be.AppendUint32(body, 0) // partition
		body = be.AppendUint32(body, uint32(len(batch)))
		dst = kafkaRequest(dst, 0, 3, append(body, batch...))
		records = records[n:]
	}
	return dst
}

// kafkaRecordBatch is a batch of format 2, each value one record.
func kafkaRecordBatch(values []byte) []byte {
	be := binary.BigEndian
	n := len(values) / RecordSize
	now := uint64(time.Now().UnixMilli())
	var tail []byte // what the sum covers
	tail = be.AppendUint16(tail, 0)
	tail = be.AppendUint32(tail, uint32(n-1))
	tail = be.AppendUint64(tail, now)
	tail = be.AppendUint64(tail, now)
	tail = be.AppendUint64(tail, ^uint64(0))
	tail = be.AppendUint16(tail, 0xffff)
	tail = be.AppendUint32(tail, ^uint32(0))
	tail = be.AppendUint32(tail, uint32(n))
	for i := range n {
		record := []byte{0, 0} // attributes, time
		record = binary.AppendVarint(record, int64(i))
		record = binary.AppendVarint(record, -1) // no key
		record = binary.AppendVarint(record, RecordSize)
		record = append(record, values[i*RecordSize:(i+1)*RecordSize]...)
		record = append(record, 0) // headers
		tail = binary.AppendVarint(tail, int64(len(record)))
		tail = append(tail, record...)
	}
	b := be.AppendUint64(nil, 0)
	b = be.AppendUint32(b, uint32(4+1+4+len(tail)))
	b = be.AppendUint32(b, ^uint32(0))
	b = append(b, 2)
	b = be.AppendUint32(b, crc32.Checksum(tail, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, tail...)
}

// kafkaReader fetches from offset on (key 1, version 4).
type kafkaReader struct {
	fd     int
	offset int64
}

func (r *kafkaReader) ask() error {
	be := binary.BigEndian
	var b []byte
	b = be.AppendUint32(b, ^uint32(0))
	b = be.AppendUint32(b, 500) // ms to wait for
	b = be.AppendUint32(b, 1)   // a byte
	b = be.AppendUint32(b, kafkaFetch)
	b = append(b, 0)
	b = be.AppendUint32(b, 1)
	b = kafkaString(b, kafkaTopic)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint64(b, uint64(r.offset))
	b = be.AppendUint32(b, kafkaFetch)
	_, err := unix.Write(r.fd, kafkaRequest(nil, 1, 4, b))
	return err
}

// next takes one whole answer and asks for the next.
func (r *kafkaReader) next(b []byte) (records []byte, count, n int) {
	be := binary.BigEndian
	if len(b) < 4 || len(b) < 4+int(be.Uint32(b)) {
		return nil, 0, 0
	}
	n = 4 + int(be.Uint32(b))
	b = b[4:n]
	// correlation, throttle, topics, name, partitions, number, error, two offsets, aborted transactions
	at := 4 + 4 + 4 + 2 + len(kafkaTopic) + 4 + 4 + 2 + 8 + 8
	if aborted := int32(be.Uint32(b[at:])); aborted > 0 {
		at += int(aborted) * 16
	}
	b = b[at+4+4:]
	for len(b) >= 61 { // a batch's header
		size := 12 + int(be.Uint32(b[8:]))
		if size > len(b) {
			break // the rest of it comes again
		}
		k := int(be.Uint32(b[57:]))
		count += k
		r.offset = int64(be.Uint64(b)) + int64(be.Uint32(b[23:])) + 1
		b = b[size:]
	}
	if r.ask() != nil {
		return nil, 0, 0
	}
	return nil, count, n
}

// kafkaJars fetches the server with Maven, once.
func kafkaJars() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "tapewire-bench", "kafka-"+kafkaVersion)
	jars := filepath.Join(dir, "jars")
	if _, err := os.Stat(jars); err == nil {
		return jars, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("%w: Kafka is fetched with Maven, which is not installed", ErrUnavailable)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	pom := fmt.Sprintf(`<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>bench</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%s</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency></dependencies></project>`, kafkaVersion)
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o644); err != nil {
		return "", err
	}
	fmt.Fprintln(os.Stderr, "fetching Kafka", kafkaVersion)
	fetch := exec.Command(mvn, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+jars+".new")
	fetch.Dir = dir
	if out, err := fetch.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: fetch Kafka: %w: %s", ErrUnavailable, err, out)
	}
	return jars, os.Rename(jars+".new", jars)
}

// StartKafka formats a directory and runs a broker on it.
func (p *Programs) StartKafka(scratch string) (*Server, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("%w: Kafka needs Java, which is not installed", ErrUnavailable)
	}
	jars, err := kafkaJars()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	control, err := freePort()
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(scratch, "server.properties")
	text := fmt.Sprintf("process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:%d\nlisteners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d\nadvertised.listeners=PLAINTEXT://127.0.0.1:%d\n"+
		"controller.listener.names=CONTROLLER\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs=%s\nnum.partitions=1\noffsets.topic.replication.factor=1\n", control, port, control, port, filepath.Join(scratch, "kafka"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	classes := filepath.Join(jars, "*")
	if out, err := exec.Command(java, "-cp", classes, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", conf).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: format Kafka's storage: %w: %s", ErrUnavailable, err, out)
	}
	proc, err := harness.Start("kafka", exec.Command(java, "-Xmx1g", "-XX:+UseG1GC", "-cp", classes, "kafka.Kafka", conf))
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), proc: proc}
	if err := s.awaitPort(); err != nil {
		return nil, err
	}
	return s, s.makeTopic()
}

// makeTopic asks for the topic's metadata (key 3, version 4) until it has been made.
func (s *Server) makeTopic() error {
	be := binary.BigEndian
	body := append(kafkaString(be.AppendUint32(nil, 1), kafkaTopic), 1) // make it
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for range 100 {
		if _, err := c.Write(kafkaRequest(nil, 3, 4, body)); err != nil {
			return err
		}
		b, err := kafkaAnswer(c)
		if err != nil {
			return err
		}
		// Behind the brokers come the topics; a topic that is there has a partition.
		if i := lastIndex(b, kafkaString(nil, kafkaTopic)); i > 1 && be.Uint16(b[i-2:]) == 0 && be.Uint32(b[i+3+1:]) == 1 {
			return nil
		}
		time.Sleep(100 * time.Millisecond) // it is made in the background, and nothing tells when
	}
	s.Stop()
	return errors.New("kafka does not make the topic")
}

func lastIndex(b, of []byte) int {
	for i := len(b) - len(of); i >= 0; i-- {
		if string(b[i:i+len(of)]) == string(of) {
			return i
		}
	}
	return -1
}
