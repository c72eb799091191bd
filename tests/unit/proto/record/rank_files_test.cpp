#include "proto/record/rank_files.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

#include <fstream>

namespace rank_files_test {

using namespace rtrain;

TEST_CASE("rank files: the process that a rank is") {
  const test::TempDir folder;
  const std::string dir = folder.path().string();
  CHECK(proto::read_process(dir).error().code() == Errc::kNotFound);
  const os::ProcessIdentity process{123, 456, "boot"};
  REQUIRE(proto::write_process(dir, process).has_value());
  CHECK(proto::read_process(dir).value() == process);
  std::ofstream(dir + "/process.json") << "{\"pid\": 3}";
  CHECK(proto::read_process(dir).error().code() == Errc::kProtocol);
}

TEST_CASE("rank files: what a rank said, without a line that was cut off or is none of its messages") {
  const test::TempDir folder;
  const std::string dir = folder.path().string();
  CHECK(proto::read_outbox(dir).empty());
  const proto::RankKey key{JobId(1), Attempt(1), 0};
  {
    std::ofstream file(proto::outbox_path(dir));
    file << proto::encode(proto::RankRunning{key}).json << "\nnonsense\n"
         << proto::encode(proto::RankReport{.key = key, .seq = 7}).json << "\n";
    file << proto::encode(proto::RankReport{.key = key, .seq = 8}).json;  // no end of the line
  }
  const auto said = proto::read_outbox(dir);
  REQUIRE(said.size() == 2);
  CHECK(proto::rank_of(said[0]) == key);
  CHECK(std::get<proto::RankReport>(said[1]).seq == 7);
}

}  // namespace rank_files_test
