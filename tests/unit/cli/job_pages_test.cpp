#include "cli/job_pages.h"

#include "tests/support/catch.h"

namespace job_pages_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

/// A head that gives these answers and notes what it was asked for.
struct Head {
  std::vector<proto::Json> answers;
  std::vector<std::string> asked = {};
  std::vector<int> taken = {};

  Result<Done> read(const JobQuery& query) {
    return read_jobs(
        [this](const std::string& target) -> Result<proto::Json> {
          asked.push_back(target);
          if (asked.size() > answers.size()) return fail(Errc::kUnavailable, "nobody answers");
          return answers[asked.size() - 1];
        },
        query,
        [this](const proto::Json& jobs) -> Result<Done> {
          for (const auto& job : jobs) taken.push_back(job.get<int>());
          return ok();
        });
  }
};

proto::Json page(std::vector<int> jobs, std::int64_t next, bool more) {
  return {{"jobs", std::move(jobs)}, {"next", next}, {"more", more}};
}

}  // namespace

TEST_CASE("job pages: all are read, an empty page is not the last one") {
  Head head{{page({9, 8}, 8, true), page({}, 5, true), page({2}, 0, false)}};
  REQUIRE(head.read({"state=FAILED"}).has_value());
  CHECK(head.taken == std::vector{9, 8, 2});
  REQUIRE(head.asked.size() == 3);
  for (const auto& target : head.asked) CHECK(target.ends_with("&state=FAILED"));
  CHECK(head.asked[1].find("&before=8&") != std::string::npos);
  CHECK(head.asked[2].find("&before=5&") != std::string::npos);
}

TEST_CASE("job pages: no more than so many are asked for") {
  Head head{{page({9, 8}, 8, true), page({7}, 7, true)}};
  REQUIRE(head.read({"", 3}).has_value());
  CHECK(head.taken == std::vector{9, 8, 7});
  CHECK(head.asked[0].starts_with("/v1/jobs?limit=3&"));
  CHECK(head.asked[1].starts_with("/v1/jobs?limit=1&"));
  CHECK(head.asked.size() == 2);
}

TEST_CASE("job pages: an error ends it, and so does a page that leads nowhere") {
  Head lost{{page({9}, 9, true)}};
  CHECK(lost.read({}).error().code() == Errc::kUnavailable);
  Head circle{{page({9}, 9, true), page({9}, 9, true), page({9}, 9, true)}};
  CHECK(circle.read({}).error().code() == Errc::kProtocol);
  CHECK(circle.asked.size() == 2);
  for (const auto& odd : {proto::Json::object(), proto::Json::array(),
                          proto::Json{{"jobs", 1}, {"next", 1}, {"more", false}}}) {
    Head head{{odd}};
    CHECK(head.read({}).error().code() == Errc::kProtocol);
  }
}

}  // namespace job_pages_test
