#include "worker/runtime/said.h"

#include "proto/record/rank_files.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

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
  for (const auto& message : proto::read_said(dir)) found.push_back(std::get<proto::RankReport>(message).seq);
  return found;
}

}  // namespace

TEST_CASE("said: appended, and started anew when most of it is stored elsewhere", "[unit][runtime]") {
  const test::TempDir folder;
  const std::string dir = folder.path().string();
  runtime::SaidFile said(dir);
  REQUIRE(said.ok());
  std::int64_t seq = 0;
  while (!said.wants_rewrite(2000)) said.append(line(++seq));
  CHECK(seqs(dir).size() == static_cast<std::size_t>(seq));
  CHECK(seq > 900);  // a megabyte
  CHECK_FALSE(said.wants_rewrite(1u << 20));
  said.rewrite(line(seq) + "\n");
  CHECK_FALSE(said.wants_rewrite(0));
  said.append(line(seq + 1));
  CHECK(seqs(dir) == std::vector{seq, seq + 1});
}

TEST_CASE("said: a folder that is not there is told, and nothing else happens", "[unit][runtime]") {
  runtime::SaidFile said("/nonexistent/rank");
  CHECK_FALSE(said.ok());
  said.append("{}");
  CHECK_FALSE(said.wants_rewrite(0));
}
