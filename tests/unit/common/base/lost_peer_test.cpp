#include "common/base/lost_peer.h"

#include "tests/support/catch.h"

#include <string>
#include <vector>

namespace lost_peer_test {

using namespace rtrain;

TEST_CASE("lost peer: the words of Gloo, NCCL and c10d are known, those of other failures are not") {
  struct Row {
    const char* message;
    bool is;
  };
  const std::vector<Row> rows{
      {"[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed by peer [10.0.0.2]:1234",
       true},
      {"recvValue failed on SocketImpl(fd=9): Connection reset by peer", true},
      {"sendBytes failed on SocketImpl(fd=9): Broken pipe", true},
      {"The client socket has failed to connect: Connection refused", true},
      {"failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?",
       true},
      {"Socket Timeout", true},
      {"wait timeout after 300000ms, keys: /nccl//0", true},
      {"Timed out waiting 1800000ms for recv operation to complete", true},
      {"[1] is setting up NCCL communicator and retrieving ncclUniqueId ... This may indicate a possible "
       "application crash on rank 0 or a network set up issue.",
       true},
      {"NCCL error in: NCCLUtils.cpp:93, remote process exited or there was a network error, NCCL version "
       "2.28.9\nncclRemoteError: ...",
       true},
      {"NCCL communicator was aborted on rank 1.", true},
      {"[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)", true},
      {"[Rank 1] Terminating the process after attempting to dump debug info, due to collective timeout or "
       "exception.",
       true},
      {"CUDA error: device-side assert triggered", false},
      {"CUDA out of memory. Tried to allocate 2.00 GiB", false},
      {"NCCL error: unhandled system error, NCCL version 2.28.9", false},
      {"mat1 and mat2 shapes cannot be multiplied (4x3 and 4x3)", false},
      {"", false},
  };
  for (const auto& row : rows) {
    INFO(row.message);
    CHECK(tells_of_lost_peer(row.message) == row.is);
  }
}

}  // namespace lost_peer_test
