{{/*
What the operator may do in a namespace that it looks after. No wildcard; each verb has its reason. `get`, `list` and `watch` are needed for
what it makes of Kubernetes' own kinds, because a child that was edited or deleted comes back at once; server-side apply needs `patch`, and
`create` for what is not there yet; `delete` is given where a change of the spec can make a child superfluous, and what goes with its owner is the garbage collector's.
*/}}
{{- define "mooring.rules" -}}
# The kinds themselves. They are made and deleted by people.
- apiGroups: [mooring.dev]
  resources: [iothubs]
  verbs: [get, list, watch]
# patch: the finalizer by which a device leaves the hub before its Device goes.
- apiGroups: [mooring.dev]
  resources: [devices]
  verbs: [get, list, watch, patch]
# Their status, by server-side apply.
- apiGroups: [mooring.dev]
  resources: [iothubs/status, devices/status]
  verbs: [patch]
# Children name their owner so that it waits for them; where OwnerReferencesPermissionEnforcement is on, that needs this.
- apiGroups: [mooring.dev]
  resources: [iothubs/finalizers, devices/finalizers]
  verbs: [update]
# The hub. Never deleted by the operator: one whose spec can't be run any more runs on as it was.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# Why a hub does not start, for its conditions.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Credentials of devices and policies, the hub's own authority and certificate; and those that a spec names, which are read and followed.
# Kubernetes has no right on "Secrets of ours": that a foreign one is never touched is the operator's own law.
# update: what a Device's Secret holds is replaced only while it is still the one that was looked at.
# delete: the Secret of a policy that was taken out, or of a Device that was given another secretName.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch, delete]
# The hub's configuration; and bundles of device authorities, which are read.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
# Where the hub is reached. delete: a Service that the spec turned off.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# The hub's volume and its identity. Never deleted by the operator: data goes with its owner, or not at all.
- apiGroups: [""]
  resources: [persistentvolumeclaims, serviceaccounts]
  verbs: [get, list, watch, create, patch]
# delete: both can be turned off.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# What a person needs to know. patch: an event that happens again is counted on.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.rbac.prometheusOperator }}
# How Prometheus finds the hub, and when somebody is called. No watch: kinds that may not be there are looked at with their hub. delete:
# monitoring that was turned off.
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors, prometheusrules]
  verbs: [get, create, patch, delete]
{{- end }}
{{- if .Values.rbac.certManager }}
# A certificate for a hub that names an issuer; looked at with its hub, too. delete: one that now has its certificate from elsewhere.
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, create, patch, delete]
{{- end }}
{{- end -}}
