#include "cli/job_pages.h"

#include <algorithm>
#include <limits>

namespace rtrain::cli {

namespace {

constexpr std::int64_t kPage = 1000;

struct Page {
  proto::Json jobs;
  std::int64_t next = 0;
  bool more = false;
};

Result<Page> page_of(proto::Json answer) {
  try {
    Page page{std::move(answer.at("jobs")), answer.at("next").get<std::int64_t>(),
              answer.at("more").get<bool>()};
    if (page.jobs.is_array()) return page;
    return fail(Errc::kProtocol, "unexpected answer of the head: jobs is not a list");
  } catch (const proto::Json::exception& e) {
    return fail(Errc::kProtocol, std::string("unexpected answer of the head: ") + e.what());
  }
}

}  // namespace

Get get_of(const Client& client) {
  return [&client](const std::string& target) { return client.get(target); };
}

Result<Done> read_jobs(const Get& get, const JobQuery& query, const TakeJobs& take) {
  std::int64_t left = query.limit.value_or(std::numeric_limits<std::int64_t>::max());
  std::int64_t before = std::numeric_limits<std::int64_t>::max();
  for (bool more = true; more && left > 0;) {
    std::string target =
        "/v1/jobs?limit=" + std::to_string(std::min(left, kPage)) + "&before=" + std::to_string(before);
    if (!query.filter.empty()) target += "&" + query.filter;
    auto answer = get(target);
    if (!answer) return answer.error();
    auto page = page_of(std::move(*answer));
    if (!page) return page.error();
    if (page->more && (page->next < 1 || page->next >= before))
      return fail(Errc::kProtocol, "unexpected answer of the head: the next page should be below " +
                                       std::to_string(before) + " but starts at " +
                                       std::to_string(page->next));
    left -= static_cast<std::int64_t>(page->jobs.size());
    before = page->next;
    more = page->more;
    if (auto taken = take(std::move(page->jobs)); !taken) return taken;
  }
  return ok();
}

}  // namespace rtrain::cli
