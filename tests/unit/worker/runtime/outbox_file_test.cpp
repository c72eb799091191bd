#include "worker/runtime/outbox_file.h"

#include "proto/record/rank_files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace outbox_file_test {

using namespace rtrain;

namespace {

std::string line(std::int64_t seq) {
  return proto::encode(proto::RankReport{.key = {JobId(1), Attempt(1), 0},
                                         .seq = seq,
                                         .metrics = {{"text", std::string(1000, 'x')}}})
      .json;
}

std::vector<std::int64_t> seqs(const std::string& dir) {
  std::vector<std::int64_t> found;
  for (const auto& message : proto::read_outbox(dir))
    found.push_back(std::get<proto::RankReport>(message).seq);
  return found;
}

}  // namespace

TEST_CASE("outbox: appended, and started anew when most of it is stored elsewhere", "[unit][runtime]") {
  const test::TempDir folder;
  const std::string dir = folder.path().string();
  runtime::OutboxFile outbox(dir);
  REQUIRE(outbox.ok());
  std::int64_t seq = 0;
  while (!outbox.wants_rewrite(2000)) outbox.append(line(++seq));
  CHECK(seqs(dir).size() == static_cast<std::size_t>(seq));
  CHECK(seq > 900);  // a megabyte
  CHECK_FALSE(outbox.wants_rewrite(1u << 20));
  outbox.rewrite(line(seq) + "\n");
  CHECK_FALSE(outbox.wants_rewrite(0));
  outbox.append(line(seq + 1));
  CHECK(seqs(dir) == std::vector{seq, seq + 1});
}

TEST_CASE("outbox: a folder that is not there is reported, and nothing else happens", "[unit][runtime]") {
  runtime::OutboxFile outbox("/nonexistent/rank");
  CHECK_FALSE(outbox.ok());
  outbox.append("{}");
  CHECK_FALSE(outbox.wants_rewrite(0));
}

}  // namespace outbox_file_test
