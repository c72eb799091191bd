#include "common/net/peer.h"

#include "tests/support/catch.h"

namespace peer_test {

using namespace rtrain;

namespace {

constexpr const char* kTcp =
    R"(  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:1CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0501000A:1CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 4713 1 0000000000000000 100 0 0 10 0
   3: 0100007F:1CAB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1002        0 4714 1 0000000000000000 100 0 0 10 0
   4: 0100007F:1CAA 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4715 1 0000000000000000 20 4 30 10 -1
)";
constexpr const char* kTcp6 =
    R"(  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1CAA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   7        0 1 1 0 100 0 0 10 0
   1: 00000000000000000000000000000000:1CAA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   8        0 1 1 0 100 0 0 10 0
   2: 0000000000000000FFFF00000100007F:1CAA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000   9        0 1 1 0 100 0 0 10 0
   3: B80D01200000000000000000010000AA:1CAA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  10        0 1 1 0 100 0 0 10 0
)";

}  // namespace

TEST_CASE("peer: the users who listen on a port of the loopback are read from the kernel's table", "[F21]") {
  // a connection is no listener, another address none of the loopback
  CHECK(net::listeners_of(kTcp, 7338) == std::vector<uid_t>{1000, 65534});
  CHECK(net::listeners_of(kTcp, 7339) == std::vector<uid_t>{1002});
  CHECK(net::listeners_of(kTcp, 1).empty());
  CHECK(net::listeners_of(kTcp6, 7338) == std::vector<uid_t>{7, 8, 9});
  CHECK(net::listeners_of("", 7338).empty());
  CHECK(net::listeners_of("header\nno table\n", 7338).empty());
}

}  // namespace peer_test
