#include "cli/job_reference.h"

#include "cli/job_pages.h"
#include "cli/parse.h"
#include "cli/text.h"

#include <algorithm>
#include <map>

namespace rtrain::cli {

namespace {

/// The documents of these jobs of an array.
Result<std::vector<proto::JobDoc>> docs_of(const Client& client, const proto::ArrayReply& reply) {
  std::vector<proto::JobDoc> docs;
  auto read = read_jobs(get_of(client), {"array=" + rtrain::to_string(reply.id)}, [&](const proto::Json& jobs) -> Result<Done> {
    for (const auto& json : jobs) {
      auto doc = as<proto::JobDoc>(json);
      if (!doc) return doc.error();
      if (std::ranges::binary_search(reply.jobs, doc->id)) docs.push_back(std::move(*doc));
    }
    return ok();
  });
  if (!read) return read.error();
  std::ranges::reverse(docs);
  return docs;
}

}  // namespace

Result<JobReference> parse_job_reference(const std::string& text) {
  const auto line = text.find('_');
  auto id = parse_job_id(text.substr(0, line));
  if (!id) return line == std::string::npos ? id.error() : parse_job_id(text).error();
  if (line == std::string::npos) return JobReference{*id, {}};
  std::string indices = text.substr(line + 1);
  const bool several = indices.starts_with('[') && indices.ends_with(']');
  if (several) indices = indices.substr(1, indices.size() - 2);
  const auto array = proto::parse_array(indices);
  if (!array || array->max_running || (!several && array->indices.size() != 1))
    return fail(Errc::kInvalidArgument, "'" + text + "' is not a job: write 12, 12_3 for an index of array 12, or 12_[3-7,9] for several");
  return JobReference{*id, std::move(indices)};
}

std::string to_string(const JobReference& reference) {
  const std::string id = std::to_string(reference.id);
  if (!reference.indices) return id;
  const bool several = reference.indices->find_first_of(",-:") != std::string::npos;
  return id + (several ? "_[" : "_") + *reference.indices + (several ? "]" : "");
}

std::string job_name_of(const proto::JobDoc& job) { return job.array ? proto::to_string(*job.array) : rtrain::to_string(job.id); }

bool means_array(const std::string& text, const proto::JobDoc& job) {
  return job.array && job.array->id == job.id && text.find('_') == std::string::npos;
}

Result<std::int64_t> find_job(const Client& client, const std::string& text) {
  auto reference = parse_job_reference(text);
  if (!reference) return reference.error();
  if (!reference->indices) return reference->id;
  if (text.find('[') != std::string::npos) return fail(Errc::kInvalidArgument, "'" + text + "' is more than one job", "name one, such as 12_3");
  auto answer = client.get("/v1/jobs/" + std::to_string(reference->id) + "_" + *reference->indices);
  if (!answer) return answer.error();
  auto job = as<proto::JobDoc>(*answer);
  if (!job) return job.error();
  return job->id.value();
}

std::string change_line(const JobReference& reference, std::span<const proto::JobDoc> jobs, ChangeWords (*words)(const proto::JobDoc& job)) {
  const auto& first = jobs.front();
  const std::string name = " (" + printable(first.name, false) + ")";
  if (jobs.size() == 1) return "job " + job_name_of(first) + name + " " + words(first).one;
  std::map<std::string, std::pair<int, std::string>> counts;  // how many, and the words for one of them
  for (const auto& job : jobs) {
    auto [one, several] = words(job);
    auto& count = counts[std::move(several)];
    ++count.first;
    count.second = std::move(one);
  }
  std::string text;
  for (const auto& [several, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count.first) + (count.first == 1 ? " job " + count.second : " jobs " + several);
  return "array " + to_string(reference) + name + ": " + text;
}

Result<std::vector<proto::JobDoc>> change_jobs(const Client& client, const JobReference& reference, const std::string& action) {
  const std::string id = std::to_string(reference.id);
  bool whole_array = false;
  if (!reference.indices) {
    auto answer = client.get("/v1/jobs/" + id);
    if (!answer) return answer.error();
    auto job = as<proto::JobDoc>(*answer);
    if (!job) return job.error();
    whole_array = job->array && job->array->id == job->id;
  }
  if (!reference.indices && !whole_array) {
    auto answer = client.post("/v1/jobs/" + id + "/" + action);
    if (!answer) return answer.error();
    auto job = as<proto::JobDoc>(*answer);
    if (!job) return job.error();
    return std::vector<proto::JobDoc>{std::move(*job)};
  }
  auto answer = client.post("/v1/arrays/" + id + "/" + action, reference.indices ? proto::Json{{"indices", *reference.indices}} : proto::Json::object());
  if (!answer) return answer.error();
  auto reply = as<proto::ArrayReply>(*answer);
  if (!reply) return reply.error();
  return docs_of(client, *reply);
}

}  // namespace rtrain::cli
