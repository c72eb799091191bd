#include "cli/job_reference.h"

#include "cli/array_view.h"
#include "cli/job_pages.h"
#include "cli/job_rows.h"
#include "cli/parse.h"
#include "cli/text.h"

#include <algorithm>
#include <map>

namespace rtrain::cli {

namespace {

/// The jobs of an array that `wanted` is true of, by number.
template <class F>
Result<std::vector<proto::JobDoc>> docs_of(const Client& client, JobId array, const F& wanted) {
  std::vector<proto::JobDoc> docs;
  const auto take = [&](const proto::Json& jobs) -> Result<Done> {
    for (const auto& json : jobs) {
      auto doc = as<proto::JobDoc>(json);
      if (!doc) return doc.error();
      if (wanted(*doc)) docs.push_back(std::move(*doc));
    }
    return ok();
  };
  auto read = read_jobs(get_of(client), {"array=" + rtrain::to_string(array)}, take);
  if (!read) return read.error();
  std::ranges::reverse(docs);
  return docs;
}

/// "array 12 (sweep)", "array 12_[3-7] (sweep)"
std::string shown(const JobReference& reference, const proto::JobDoc& first) {
  return "array " + to_string(reference) + " (" + printable(first.name, false) + ")";
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
    return fail(
        Errc::kInvalidArgument,
        "'" + text + "' is not a job: write 12, 12_3 for an index of array 12, or 12_[3-7,9] for several");
  return JobReference{*id, std::move(indices)};
}

std::string to_string(const JobReference& reference) {
  std::string id = std::to_string(reference.id);
  if (!reference.indices) return id;
  const bool several = reference.indices->find_first_of(",-:") != std::string::npos;
  return id + (several ? "_[" : "_") + *reference.indices + (several ? "]" : "");
}

std::string job_name_of(const proto::JobDoc& job) {
  return job.array ? proto::to_string(*job.array) : rtrain::to_string(job.id);
}

std::string job_name_of(JobId id, const std::optional<proto::JobDoc>& job) {
  return job && job->array ? job_name_of(*job) : rtrain::to_string(id);
}

bool means_array(const std::string& text, const proto::JobDoc& job) {
  return job.array && job.array->id == job.id && text.find('_') == std::string::npos;
}

Result<std::int64_t> find_job(const Client& client, const std::string& text) {
  auto reference = parse_job_reference(text);
  if (!reference) return reference.error();
  if (!reference->indices) return reference->id;
  if (text.find('[') != std::string::npos)
    return fail(Errc::kInvalidArgument, "'" + text + "' is more than one job", "name one, such as 12_3");
  auto answer = client.get("/v1/jobs/" + std::to_string(reference->id) + "_" + *reference->indices);
  if (!answer) return answer.error();
  auto job = as<proto::JobDoc>(*answer);
  if (!job) return job.error();
  return job->id.value();
}

std::string change_line(const JobReference& reference, std::span<const proto::JobDoc> jobs,
                        ChangeWords (*words)(const proto::JobDoc& job)) {
  const auto& first = jobs.front();
  if (jobs.size() == 1)
    return "job " + job_name_of(first) + " (" + printable(first.name, false) + ") " + words(first).one;
  std::map<std::string, std::pair<int, std::string>> counts;  // how many, and the words for one of them
  for (const auto& job : jobs) {
    auto [one, several] = words(job);
    auto& count = counts[std::move(several)];
    ++count.first;
    count.second = std::move(one);
  }
  std::string text;
  for (const auto& [several, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count.first) +
            (count.first == 1 ? " job " + count.second : " jobs " + several);
  return shown(reference, first) + ": " + text;
}

Result<std::vector<proto::JobDoc>> change_jobs(const Client& client, const JobReference& reference,
                                               const std::string& action) {
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
  auto answer =
      client.post("/v1/arrays/" + id + "/" + action,
                  reference.indices ? proto::Json{{"indices", *reference.indices}} : proto::Json::object());
  if (!answer) return answer.error();
  auto reply = as<proto::ArrayReply>(*answer);
  if (!reply) return reply.error();
  return docs_of(client, reply->id,
                 [&](const proto::JobDoc& doc) { return std::ranges::binary_search(reply->jobs, doc.id); });
}

Result<std::vector<proto::JobDoc>> jobs_meant(const Client& client, const JobReference& reference) {
  if (reference.indices) {
    const auto wanted = proto::parse_array(*reference.indices);
    if (!wanted) return wanted.error();
    return docs_of(client, JobId(reference.id), [&](const proto::JobDoc& doc) {
      return doc.array && std::ranges::find(wanted->indices, doc.array->index) != wanted->indices.end();
    });
  }
  auto answer = client.get("/v1/jobs/" + std::to_string(reference.id));
  if (!answer) return answer.error();
  auto job = as<proto::JobDoc>(*answer);
  if (!job) return job.error();
  if (means_array(to_string(reference), *job))
    return docs_of(client, job->id, [](const proto::JobDoc&) { return true; });
  return std::vector<proto::JobDoc>{std::move(*job)};
}

Error nothing_to_cancel(const JobReference& reference, std::span<const proto::JobDoc> jobs) {
  const auto counts = count_states(jobs).text();
  if (std::ranges::all_of(jobs, [](const auto& job) { return has_ended(job.state); }))
    return fail(Errc::kConflict, shown(reference, jobs.front()) + " has ended: " + counts);
  const auto array = shown(reference, jobs.front());
  return fail(Errc::kConflict, array + ": every job has ended or is being cancelled already: " + counts,
              "wait for the end: rtrain cancel --wait " + to_string(reference));
}

}  // namespace rtrain::cli
